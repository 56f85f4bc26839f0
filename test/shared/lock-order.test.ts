import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { deleteUser } from "../../api/mutations/delete-user.ts";
import { putMembers } from "../../api/mutations/put-members.ts";
import { removeMember } from "../../api/mutations/remove-member.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { waitUntil } from "../support/stack-wait.ts";

let place: Workplace;
let room: Room;
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  room = await place.room(`group:locked-${++count}`, ["ada", `bob-${count}`]);
});
afterAll(() => place.close());

async function countWaiting(): Promise<number> {
  const rows = await place.sql(
    "select 1 as one from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
  );
  return rows.length;
}

const address = () => ({ kind: room.kind, slug: room.slug });

test.each<[string, () => Promise<unknown>]>([
  ["removing somebody", () => removeMember(place.db, place.tenantId, address(), `bob-${count}`)],
  [
    "giving another role",
    () =>
      putMembers(place.db, place.tenantId, address(), {
        members: [{ user: `bob-${count}`, role: "owner", place: "user" }],
        unknownUsers: "create",
      }),
  ],
  ["deleting a user", () => deleteUser(place.db, place.tenantId, `bob-${count}`)],
])("%s, and reading from Matrix in the same room, wait for each other in one order", async (_, act) => {
  const reader = await place.db.transaction();
  await reader.raw("select 1 from room_timeline where room_id = ? for update", [room.id]);
  const acting = act();
  await waitUntil("the api waits for the reader", async () => (await countWaiting()) === 1, {
    limitMs: 10_000,
  });

  // If the reader waited here, it and the api would wait for each other: Postgres ends such a deadlock after a second, by
  // failing one of them.
  await reader.raw("set local lock_timeout = '300ms'");
  await reader.raw("update memberships set applied = 'in' where room_id = ?", [room.id]);
  await reader.raw("update rooms set members_next_attempt_at = now() where id = ?", [room.id]);
  await reader.commit();

  await expect(acting).resolves.toBeDefined();
});
