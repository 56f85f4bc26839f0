import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { diagnoseRoom } from "../../workers/reconcile/diagnose-room.ts";
import { findRoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import { handleMembership } from "../../workers/jobs/membership.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let room: Room;
let ids: { ada: string; bob: string; guest: string; observer: string };
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  room = await place.room(`group:unknown-users-${++count}`, ["ada"]);
  await place.room(`group:elsewhere-${count}`, ["bob"]);
  await place.sql("update rooms set matrix_room_id = id, strangers_seen_at = now() where id = ?", [room.id]);
  await place.sql("insert into memberships (room_id, user_id, tenant_id, role) select ?, ?, ?, 'guest'", [
    room.id,
    await place.userId("guest"),
    place.tenantId,
  ]);
  const [row] = await place.sql<typeof ids>(
    `select (select matrix_user_id from users where external_id = 'ada') as ada,
            (select matrix_user_id from users where external_id = 'bob') as bob,
            (select matrix_user_id from users where external_id = 'guest') as guest,
            (select matrix_user_id from observers) as observer`,
  );
  if (!row) throw new Error("a user has no row");
  ids = row;
});
afterAll(() => place.close());

/** Users who are in the room on Matrix, or invited. */
function show(joined: readonly string[], invited: readonly string[] = []): void {
  const member = (membership: string) => (state_key: string) => ({ state_key, content: { membership } });
  const chunk = [
    ...joined.map(member("join")),
    ...invited.map(member("invite")),
    member("ban")("@gone:test"),
  ];
  homeserver.answer(/\/members$/, { chunk });
  homeserver.answer(/\/joined_members$/, { joined: Object.fromEntries(joined.map((id) => [id, {}])) });
}

function runMembership() {
  return handleMembership(place.context(homeserver), { tenantId: place.tenantId, roomId: room.id });
}

function removed(): unknown[] {
  return homeserver.calls.filter(({ path }) => path.endsWith("/kick")).map(({ body }) => body["user_id"]);
}

test("a private room keeps members only: no unknown user, no other user of the tenant, no guest", async () => {
  show([ids.observer, ids.ada, ids.bob, ids.guest, "@unknown:test"], ["@invited:test"]);
  await runMembership();
  expect(removed().toSorted()).toEqual([ids.bob, ids.guest, "@invited:test", "@unknown:test"].toSorted());
  // The next run does not look again.
  homeserver.calls.length = 0;
  await runMembership();
  expect(homeserver.calls.filter(({ path }) => path.endsWith("/members"))).toEqual([]);
});

test("a public room keeps unknown users, and not the tenant's users who are no members", async () => {
  await place.sql("update rooms set visibility = 'public' where id = ?", [room.id]);
  show([ids.observer, ids.ada, ids.bob, "@unknown:test"]);
  await runMembership();
  expect(removed()).toEqual([ids.bob]);
});

test("many unknown users are removed in several runs", async () => {
  const unknownUsers = Array.from({ length: 25 }, (_, index) => `@unknown-${index}:test`);
  show([ids.observer, ...unknownUsers]);
  expect((await runMembership()).retryInMs).toBeGreaterThan(0);
  const first = removed();
  expect(first).toHaveLength(20);
  show([ids.observer, ...unknownUsers.filter((user) => !first.includes(user))]);
  expect(await runMembership()).toEqual({ retryInMs: null });
  expect(removed().toSorted()).toEqual(unknownUsers.toSorted());
});

test("a diagnosis names the users who should not be in the room", async () => {
  show([ids.observer, "@unknown:test"]);
  const facts = await findRoomSnapshot(place.db, place.tenantId, room.id);
  if (!facts) throw new Error("no room");
  const differences = await diagnoseRoom(place.db, homeserver, facts);
  expect(differences).toContainEqual({ what: "stranger is in", wanted: null, found: "@unknown:test" });
});
