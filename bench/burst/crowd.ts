import { z } from "zod";
import { createRest } from "../rest.ts";
import type { DemoStack } from "../stack.ts";
import { runInFlight, waitFor } from "../wait.ts";
import { callOk, type Http } from "./http.ts";

const LIMIT_MS = 600_000;
const IN_FLIGHT = 16;
const POLL_MS = 500;

/** People in one event room, each of whom has joined it on Matrix. */
export type Crowd = {
  room: string;
  /** Its path in the API. */
  path: string;
  people: readonly string[];
  tokens: readonly string[];
  /** The number of the timeline's last entry before the burst. */
  startNumber: number;
};

const place = z.object({ offset: z.int(), sentUpTo: z.int() });

/** The number of the timeline's last entry, and the number up to which Matrix has followed. */
export type Progress = z.infer<typeof place>;

export async function readProgress(http: Http, stack: DemoStack, path: string): Promise<Progress> {
  return place.parse(await callOk(http, { method: "GET", path, credential: stack.serverKey }));
}

/** Makes the room and its people. Each posts a first message: accounts and joins are made before the burst. */
export async function openCrowd(stack: DemoStack, http: Http, count: number): Promise<Crowd> {
  const run = Date.now().toString(36);
  const path = `/v1/rooms/event/burst-${run}`;
  const server = createRest(stack.apiUrl, stack.serverKey);
  const people = Array.from({ length: count }, (_, index) => `burst-${run}-${String(index)}`);
  await server.putRoom(path, { name: "Burst", members: people.map((user) => ({ user, role: "member" })) });
  const tokens: string[] = [];
  await runInFlight(count, IN_FLIGHT, async (index) => {
    tokens[index] = await server.token(people[index] ?? "");
  });
  const before = await readProgress(http, stack, path);
  await runInFlight(count, IN_FLIGHT, (index) =>
    callOk(http, {
      method: "POST",
      path: `${path}/messages`,
      credential: tokens[index] ?? "",
      body: { text: `first ${String(index)}` },
    }),
  );
  let now = before;
  const hasAll = async () => {
    now = await readProgress(http, stack, path);
    return now.offset >= before.offset + count && now.sentUpTo >= now.offset;
  };
  await waitFor(LIMIT_MS, "everybody's first message on Matrix", hasAll, POLL_MS);
  return { room: `event:burst-${run}`, path, people, tokens, startNumber: now.offset };
}
