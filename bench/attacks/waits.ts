import { setTimeout as sleep } from "node:timers/promises";
import type { DemoStack } from "../stack.ts";
import type { Attack } from "./define.ts";
import { openTenant } from "./second-tenant.ts";

/** More than the places of an api process. */
const ROOMS = 600;
const WAIT_S = 30;
/** The requests come over 6 s, so that they fill the places and not the database's queue. */
const BETWEEN_MS = 10;
const SETTLE_MS = 1_000;

/** `waits`: it was not answered before the attack ended. */
type Outcome = "waits" | "said kept" | "not kept" | "refused";

/**
 * One tenant makes 600 rooms with `Prefer: wait=30`: each waits until Matrix has its room. Meanwhile a person of another
 * tenant writes with `Prefer: wait=10` in a room that is ready.
 */
export const waits: Attack = async (stack, write) => {
  const run = Date.now().toString(36);
  const key = await openTenant("waits-other");
  const path = `/v1/rooms/group/waits-${run}`;
  const call = createCall(stack);
  await call(key, "PUT", path, { body: { name: "Waits", members: [{ user: "ada" }] }, waitS: 30 });
  const { token } = (await call(key, "POST", "/v1/users/ada/tokens")).body as { token: string };
  const post = async () => {
    const startMs = performance.now();
    const posted = await call(token, "POST", `${path}/messages`, { body: { text: "Hello" }, waitS: 10 });
    return { ...posted, ms: Math.round(performance.now() - startMs) };
  };
  await post();
  const calm = await post();
  write(`${String(ROOMS)} requests wait`);
  const abort = new AbortController();
  const outcomes: Outcome[] = [];
  const asked: Promise<unknown>[] = [];
  for (let index = 0; index < ROOMS; index++) {
    const options = { body: { name: "Greedy" }, waitS: WAIT_S, signal: abort.signal };
    const room = `/v1/rooms/group/greedy-${run}-${String(index)}`;
    asked.push(
      call(stack.serverKey, "PUT", room, options)
        .then(nameOutcome, () => "waits" as const)
        .then((outcome) => outcomes.push(outcome)),
    );
    await sleep(BETWEEN_MS);
  }
  await sleep(SETTLE_MS);
  const beside = await post();
  abort.abort();
  await Promise.all(asked);
  const count = (outcome: Outcome) => outcomes.filter((one) => one === outcome).length;
  return {
    calmStatus: calm.status,
    calmMs: calm.ms,
    otherStatus: beside.status,
    otherSaidKept: beside.applied === null ? 0 : 1,
    otherMs: beside.ms,
    greedyWait: count("waits"),
    greedySaidKept: count("said kept"),
    greedyNotKept: count("not kept"),
    greedyRefused: count("refused"),
  };
};

function nameOutcome({ status, applied }: { status: number; applied: string | null }): Outcome {
  if (status >= 400) return "refused";
  return applied === null ? "not kept" : "said kept";
}

type CallOptions = { body?: unknown; waitS?: number; signal?: AbortSignal };

function createCall({ apiUrl }: DemoStack) {
  return async (
    credential: string,
    method: string,
    path: string,
    { body, waitS, signal }: CallOptions = {},
  ) => {
    const response = await fetch(apiUrl + path, {
      method,
      headers: {
        authorization: `Bearer ${credential}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(waitS === undefined ? {} : { prefer: `wait=${String(waitS)}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: signal ?? null,
    });
    return {
      status: response.status,
      applied: response.headers.get("preference-applied"),
      body: await response.json(),
    };
  };
}
