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
  room = await place.room(`group:strangers-${++count}`, ["ada"]);
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
  if (!row) throw new Error("nobody");
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

function move() {
  return handleMembership(place.context(homeserver), { tenantId: place.tenantId, roomId: room.id });
}

function putOut(): unknown[] {
  return homeserver.calls.filter(({ path }) => path.endsWith("/kick")).map(({ body }) => body["user_id"]);
}

test("a private room keeps members only: no unknown user, no other user of the tenant, no guest", async () => {
  show([ids.observer, ids.ada, ids.bob, ids.guest, "@stranger:test"], ["@asked:test"]);
  await move();
  expect(putOut().toSorted()).toEqual([ids.bob, ids.guest, "@asked:test", "@stranger:test"].toSorted());
  // The next run does not look again.
  homeserver.calls.length = 0;
  await move();
  expect(homeserver.calls.filter(({ path }) => path.endsWith("/members"))).toEqual([]);
});

test("a public room keeps unknown users, and not the tenant's users who are no members", async () => {
  await place.sql("update rooms set visibility = 'public' where id = ?", [room.id]);
  show([ids.observer, ids.ada, ids.bob, "@stranger:test"]);
  await move();
  expect(putOut()).toEqual([ids.bob]);
});

test("many unknown users are removed in several runs", async () => {
  const strangers = Array.from({ length: 25 }, (_, index) => `@stranger-${index}:test`);
  show([ids.observer, ...strangers]);
  expect((await move()).retryInMs).toBeGreaterThan(0);
  const first = putOut();
  expect(first).toHaveLength(20);
  show([ids.observer, ...strangers.filter((stranger) => !first.includes(stranger))]);
  expect(await move()).toEqual({ retryInMs: null });
  expect(putOut().toSorted()).toEqual(strangers.toSorted());
});

test("a diagnosis names the users who should not be in the room", async () => {
  show([ids.observer, "@stranger:test"]);
  const facts = await findRoomSnapshot(place.db, place.tenantId, room.id);
  if (!facts) throw new Error("no room");
  const differences = await diagnoseRoom(place.db, homeserver, facts);
  expect(differences).toContainEqual({ what: "stranger is in", wanted: null, found: "@stranger:test" });
});
