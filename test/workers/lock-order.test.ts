import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { makeDueAfterOutage } from "../../shared/db/due-work.ts";
import { openGapsOfUnseenMessages } from "../../shared/db/observers/room-gaps.ts";
import { repairCounters } from "../../shared/db/rooms/repair-counters.ts";
import { replaceEpochs } from "../../shared/db/timeline/replace-epochs.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { waitUntil } from "../support/stack-wait.ts";

let place: Workplace;
let homeserverId: string;
let rooms: Room[];
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
  const [row] = await place.sql<{ id: string }>("select id from homeservers");
  homeserverId = row?.id ?? "";
});
beforeEach(async () => {
  rooms = [];
  for (let index = 0; index < 3; index++) {
    const room = await place.room(`group:order-${++count}`, ["ada"]);
    await place.sql("update rooms set matrix_room_id = ? where id = ?", [`!${room.id}`, room.id]);
    await place.accept(room, "ada", "one");
    rooms.push(room);
  }
  const ids = rooms.map(({ id }) => id);
  await place.sql(
    "update messages set status = 'sent', event_id = '$' || id, sent_at = now() - interval '1 hour' where room_id = any(?)",
    [ids],
  );
  await place.sql("update sync_positions set since = 's1', last_success_at = now()");
  await place.sql(
    "update room_outbox set attempts = 3, next_attempt_at = now() + interval '1 hour' where room_id = any(?)",
    [ids],
  );
  // The first rooms come last in their tables: a statement that locks as it reads begins with the last ones.
  for (const { id } of rooms.toReversed()) {
    await place.sql("update room_timeline set message_count = message_count where room_id = ?", [id]);
    await place.sql("update room_outbox set accepted_count = accepted_count where room_id = ?", [id]);
  }
});
afterAll(() => place.close());

const failGaps = () =>
  place.sql(
    "update room_timeline set gap_from = 's1', gap_to = 's2', gap_attempts = 3, gap_next_attempt_at = now() + interval '1 hour' where room_id = any(?)",
    [rooms.map(({ id }) => id)],
  );
const closeUncounted = () =>
  place.sql("update messages set open = false where room_id = any(?)", [rooms.map(({ id }) => id)]);

test.each<[string, "room_timeline" | "room_outbox", () => Promise<unknown>, () => Promise<unknown>]>([
  [
    "opening the gaps of unseen messages",
    "room_timeline",
    () => Promise.resolve(),
    () => openGapsOfUnseenMessages(place.db, "10 minutes"),
  ],
  [
    "making gaps due after an outage",
    "room_timeline",
    failGaps,
    () => makeDueAfterOutage(place.db, homeserverId, 1_000),
  ],
  [
    "making messages due after an outage",
    "room_outbox",
    () => Promise.resolve(),
    () => makeDueAfterOutage(place.db, homeserverId, 1_000),
  ],
  ["giving rooms new epochs", "room_timeline", () => Promise.resolve(), () => replaceEpochs(place.db)],
  ["repairing counters", "room_outbox", closeUncounted, () => repairCounters(place.db, 100)],
])(
  "%s locks rooms in the order of acceptance, so that neither ends as a deadlock",
  async (_, table, prepare, work) => {
    await prepare();
    const acceptance = await place.db.transaction();
    await acceptance.raw(`select 1 from ${table} where room_id = ? for update`, [rooms[0]?.id ?? ""]);
    const working = work();
    await waitUntil("the work waits for the first room", async () => {
      const rows = await place.sql(
        "select 1 as one from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
      );
      return rows.length === 1;
    });
    await acceptance.raw("set local lock_timeout = '300ms'");
    await acceptance.raw(`select 1 from ${table} where room_id = any(?) order by room_id for update`, [
      rooms.map(({ id }) => id),
    ]);
    await acceptance.commit();
    await working;
    expect((await place.sql("select 1 from pg_locks where not granted")).length).toBe(0);
  },
);
