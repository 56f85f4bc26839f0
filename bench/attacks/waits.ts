import type { DemoStack } from "../stack.ts";
import type { Attack } from "./define.ts";
import { openTenant } from "./second-tenant.ts";

/** More than the places of an api process. */
const ROOMS = 600;
const WAIT_S = 30;
const BACKLOG_MS = 1_500;

/**
 * One tenant makes 600 rooms with `Prefer: wait=30`: each waits until Matrix has its room. Meanwhile a person of another
 * tenant writes with `Prefer: wait=10` in a room that is ready.
 */
export const waits: Attack = async (stack, write) => {
  const run = Date.now().toString(36);
  const key = await openTenant("waits-other");
  const path = `/v1/rooms/group/waits-${run}`;
  const call = createCall(stack);
  await call(key, "PUT", path, { name: "Waits", members: [{ user: "ada" }] }, 30);
  const { token } = (await call(key, "POST", "/v1/users/ada/tokens")).body as { token: string };
  const post = async () => {
    const startMs = performance.now();
    const { status, applied } = await call(token, "POST", `${path}/messages`, { text: "Hello" }, 10);
    return { status, isSaidKept: applied === null ? 0 : 1, ms: Math.round(performance.now() - startMs) };
  };
  await post();
  const calm = await post();
  write(`${String(ROOMS)} requests wait`);
  const abort = new AbortController();
  const waiting = Array.from({ length: ROOMS }, (_, index) =>
    call(
      stack.serverKey,
      "PUT",
      `/v1/rooms/group/greedy-${run}-${String(index)}`,
      { name: "Greedy" },
      WAIT_S,
      abort.signal,
    ).then(
      ({ applied }) => applied,
      () => "still waits",
    ),
  );
  await new Promise((resolve) => setTimeout(resolve, BACKLOG_MS));
  const beside = await post();
  abort.abort();
  const outcomes = await Promise.all(waiting);
  return {
    calmStatus: calm.status,
    calmMs: calm.ms,
    otherStatus: beside.status,
    otherSaidKept: beside.isSaidKept,
    otherMs: beside.ms,
    greedyStillWait: outcomes.filter((outcome) => outcome === "still waits").length,
    greedySaidKept: outcomes.filter((outcome) => outcome?.startsWith("wait=") === true).length,
    greedySaidNotKept: outcomes.filter((outcome) => outcome === null).length,
  };
};

function createCall({ apiUrl }: DemoStack) {
  return async (
    credential: string,
    method: string,
    path: string,
    body?: unknown,
    waitS = 0,
    signal: AbortSignal | null = null,
  ) => {
    const response = await fetch(apiUrl + path, {
      method,
      headers: {
        authorization: `Bearer ${credential}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(waitS === 0 ? {} : { prefer: `wait=${String(waitS)}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal,
    });
    return {
      status: response.status,
      applied: response.headers.get("preference-applied"),
      body: await response.json(),
    };
  };
}
