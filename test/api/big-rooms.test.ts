import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { appendDueMemberCounts } from "../../shared/timeline/member-counts.ts";
import { openApiWorld, type ApiWorld, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("big");
});
afterAll(() => world.close());

/** A room of 101 guests, its address and its row id. */
async function makeBigRoom(slug: string): Promise<{ path: string; id: string }> {
  const members = Array.from({ length: 101 }, (_, index) => ({ user: `first-${index}`, role: "guest" }));
  await tenant.server("PUT", `/v1/rooms/event/${slug}`, { body: { name: slug, members } });
  const { rows } = await world.db.raw<{ rows: { id: string }[] }>("select id from rooms where slug = ?", [
    slug,
  ]);
  return { path: `/v1/rooms/event/${slug}`, id: rows[0]?.id ?? "" };
}

function add(path: string, user: string, role = "guest"): Promise<{ status: number }> {
  return tenant.server("PUT", `${path}/members/${user}`, { body: { role } });
}

/** The room's entries in order: the type, and the member count of those that have one. */
async function readEntries(roomId: string): Promise<string[]> {
  const { rows } = await world.db.raw<{ rows: { number: number; entry: string }[] }>(
    `select number, concat_ws(' ', type, content -> 'changed' ->> 'members') as entry
       from timeline where room_id = ? order by number`,
    [roomId],
  );
  expect(rows.map(({ number }) => number)).toEqual(rows.map((_, index) => index + 1));
  return rows.map(({ entry }) => entry);
}

/** Appends the deferred counts now. Returns the number of rooms. */
async function appendCountsNow(): Promise<number> {
  await world.db.raw("update room_timeline set count_due_at = now() where count_due_at is not null");
  return (await appendDueMemberCounts(world.db, 100)).length;
}

test("people who join a big room one by one become one entry with the count, soon", async () => {
  const { path, id } = await makeBigRoom("one-by-one");
  for (let index = 0; index < 20; index++) expect((await add(path, `guest-${index}`)).status).toBe(202);
  expect(await readEntries(id)).toEqual(["room.changed 101"]);
  const { rows } = await world.db.raw<{ rows: { inS: number }[] }>(
    `select extract(epoch from count_due_at - now())::float8 as "inS" from room_timeline where room_id = ?`,
    [id],
  );
  expect(rows[0]?.inS).toBeLessThanOrEqual(3);

  expect(await appendCountsNow()).toBe(1);
  expect(await readEntries(id)).toEqual(["room.changed 101", "room.changed 121"]);
  expect(await appendCountsNow()).toBe(0);
});

test("a person who joins a big room is joined on Matrix and receives the room, as in any other room", async () => {
  const { path, id } = await makeBigRoom("as-any");
  await world.db.raw("update rooms set members_next_attempt_at = null where id = ?", [id]);
  await add(path, "speaker", "speaker");
  const { rows } = await world.db.raw<{ rows: { isDue: boolean }[] }>(
    `select members_next_attempt_at is not null as "isDue" from rooms where id = ?`,
    [id],
  );
  expect(rows).toEqual([{ isDue: true }]);
  expect(await (await tenant.user("speaker"))("GET", "/v1/me/rooms")).toMatchObject({
    body: { items: [{ room: "event:as-any", members: 102 }] },
  });
  await appendCountsNow();
});

test("a role change and a removal have entries of their own in a big room too", async () => {
  const { path, id } = await makeBigRoom("own-entries");
  await add(path, "ada");
  await add(path, "ada", "speaker");
  await tenant.server("DELETE", `${path}/members/ada`);
  await appendCountsNow();
  expect(await readEntries(id)).toEqual([
    "room.changed 101",
    "member.changed",
    "member.left",
    "room.changed 101",
  ]);
});

test("the last count is published when people join while counts are being published", async () => {
  const { path, id } = await makeBigRoom("racing");
  const done = new AbortController();
  const telling = (async () => {
    while (!done.signal.aborted) await appendCountsNow();
  })();
  await Promise.all(Array.from({ length: 60 }, (_, index) => add(path, `racer-${index}`)));
  done.abort();
  await telling;
  await appendCountsNow();

  const entries = await readEntries(id);
  expect(entries.at(-1)).toBe("room.changed 161");
  const counts = entries.map((entry) => Number(entry.split(" ")[1]));
  expect(counts).toEqual(counts.toSorted((a, b) => a - b));
  expect(await appendCountsNow()).toBe(0);
});

test("a room that was deleted in between gets no count", async () => {
  const { path, id } = await makeBigRoom("deleted");
  await add(path, "late");
  await tenant.server("DELETE", path);
  expect(await appendCountsNow()).toBe(0);
  expect(await readEntries(id)).toEqual(["room.changed 101"]);
});
