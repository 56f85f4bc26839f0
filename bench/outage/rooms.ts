import { createRest, type Rest } from "../rest.ts";
import type { DemoStack } from "../stack.ts";
import { runInFlight, waitFor } from "../wait.ts";

const PEOPLE = 20;
const ROOMS = 4;
const IN_FLIGHT = 8;
const LIMIT_MS = 300_000;
const POLL_MS = 500;

export type Person = { user: string; token: string; rest: Rest };
/** `startNumber`: of the timeline's last entry before the outage. */
export type Room = { key: string; slug: string; path: string; startNumber: number };

/** Everybody is in every room, and has joined it on Matrix. */
export type Talk = { server: Rest; people: Person[]; rooms: Room[] };

/** Makes the rooms and the people. Each posts a first message in each room: accounts and joins are made before the outage. */
export async function openTalk(stack: DemoStack): Promise<Talk> {
  const run = Date.now().toString(36);
  const server = createRest(stack.apiUrl, stack.serverKey);
  const users = Array.from({ length: PEOPLE }, (_, index) => `outage-${run}-${String(index)}`);
  const slugs = Array.from({ length: ROOMS }, (_, index) => `outage-${run}-${String(index)}`);
  const members = users.map((user) => ({ user, role: "member" }));
  for (const slug of slugs) await server.putRoom(`/v1/rooms/group/${slug}`, { name: "Outage", members });
  const people = await Promise.all(
    users.map(async (user): Promise<Person> => {
      const token = await server.token(user);
      return { user, token, rest: createRest(stack.apiUrl, token) };
    }),
  );
  await runInFlight(PEOPLE * ROOMS, IN_FLIGHT, (index) => {
    const slug = slugs[index % ROOMS] ?? "";
    const person = people[Math.floor(index / ROOMS)];
    return person?.rest.post(`group:${slug}`, "Hello", `hello-${slug}`) ?? Promise.resolve();
  });
  const rooms = await Promise.all(slugs.map((slug) => waitForMatrix(server, slug)));
  return { server, people, rooms };
}

async function waitForMatrix(server: Rest, slug: string): Promise<Room> {
  const path = `/v1/rooms/group/${slug}`;
  let startNumber = 0;
  const isOnMatrix = async () => {
    const { offset, sentUpTo } = await server.room(path);
    startNumber = offset;
    return sentUpTo >= offset;
  };
  await waitFor(LIMIT_MS, "everybody's first message on Matrix", isOnMatrix, POLL_MS);
  return { key: `group:${slug}`, slug, path, startNumber };
}
