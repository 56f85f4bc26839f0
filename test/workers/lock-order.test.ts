import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { makeDueAfterOutage } from "../../shared/db/due-work.ts";
import { openGapsOfUnseenMessages } from "../../shared/db/observers/room-gaps.ts";
import { replaceEpochs } from "../../shared/db/timeline/replace-epochs.ts";
import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { applyMemberships } from "../../shared/db/memberships/applied-members.ts";
import { receiveReceipts } from "../../shared/db/memberships/signs/positions.ts";
import { noteRemovals } from "../../shared/db/memberships/removals.ts";
import { acceptStatement, INPUT, toInputRow } from "../../shared/db/messages/accept/accept-statement.ts";
import { lockRooms } from "../../shared/db/rooms/lock-rooms.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { appendRows, lockTimelineRows, runAppend } from "../../shared/db/timeline/append.ts";
import { newId } from "../../shared/platform/ids.ts";
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
    await place.sql(
      "update memberships set read_number = 0, receipt_number = 0, applied = 'in' where room_id = ?",
      [id],
    );
  }
});
afterAll(() => place.close());

async function countWaiting(): Promise<number> {
  const rows = await place.sql(
    "select 1 as one from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
  );
  return rows.length;
}

const failGaps = () =>
  place.sql(
    "update room_timeline set gap_from = 's1', gap_to = 's2', gap_attempts = 3, gap_next_attempt_at = now() + interval '1 hour' where room_id = any(?)",
    [rooms.map(({ id }) => id)],
  );

const ada = async () => {
  const [row] = await place.sql<{ id: string; name: string }>(
    "select id, matrix_user_id as name from users where external_id = 'ada'",
  );
  return { id: row?.id ?? "", name: row?.name ?? "" };
};
const ofAda = async <T>(change: (room: Room, userId: string) => T) => {
  const { id } = await ada();
  return rooms.toReversed().map((room) => change(room, id));
};
const receive = async () => {
  const [observer] = await place.sql<{ id: string }>("select observer_id as id from rooms limit 1");
  const { name: matrixUserId } = await ada();
  const receipts = rooms.map(({ id }) => ({ matrixRoomId: `!${id}`, matrixUserId, eventId: "$none" }));
  await receiveReceipts(place.db, observer?.id ?? "", receipts.toReversed());
};
/** As `acceptMessages`, which waits for a lock for a short time only. */
const accept = async (trx: Db) => {
  const rows = await ofAda(({ kind, slug }) => ({
    ...{ tenantId: place.tenantId, user: "ada", room: { kind, slug }, stamp: null },
    ...{ content: { kind: "text" as const, text: "two" }, clientId: null, requestHash: null },
  }));
  const input = JSON.stringify(rows.map(toInputRow));
  await rowsOf(trx, lockRooms(INPUT, ""), { input });
  const { sql, bindings } = acceptStatement(input);
  await rowsOf(trx, sql, bindings);
};
const append = async (trx: Db) => {
  await lockTimelineRows(
    trx,
    rooms.map(({ id }) => id),
  );
  const rows = await ofAda((room, userId) => ({
    ...{ room_id: room.id, position: 0, entry_id: newId(), event_id: null, type: "message.created" as const },
    ...{
      sender_id: userId,
      sender_name: null,
      sender_ref: null,
      client_id: null,
      relates_to: null,
      at: null,
    },
    content: { kind: "text", text: "from Matrix" },
  }));
  await runAppend(trx, appendRows(rows));
};

test.each<
  [string, "room_timeline" | "room_outbox" | "memberships", () => Promise<unknown>, () => Promise<unknown>]
>([
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
  ["receiving receipts", "memberships", () => Promise.resolve(), receive],
  ["accepting messages", "memberships", () => Promise.resolve(), () => place.db.transaction(accept)],
  [
    "appending what a member wrote on Matrix",
    "memberships",
    () => Promise.resolve(),
    () => place.db.transaction(append),
  ],
  [
    "recording who is in rooms",
    "memberships",
    () => Promise.resolve(),
    async () => {
      const left = await ofAda((room, userId) => ({ roomId: room.id, userId, applied: "out" as const }));
      const { sql, bindings } = applyMemberships(left);
      await rowsOf(place.db, sql, bindings);
    },
  ],
  [
    "recording removals",
    "memberships",
    () => Promise.resolve(),
    async () => {
      const kick = { eventId: "$kick", isBan: false };
      const { sql, bindings } = noteRemovals(
        await ofAda((room, userId) => ({ roomId: room.id, userId, ...kick })),
      );
      await rowsOf(place.db, sql, bindings);
    },
  ],
  ["giving rooms new epochs", "room_timeline", () => Promise.resolve(), () => replaceEpochs(place.db)],
])(
  "%s locks in the order of the rooms, so that neither ends as a deadlock",
  async (_, table, prepare, work) => {
    await prepare();
    const acceptance = await place.db.transaction();
    await acceptance.raw(`select 1 from ${table} where room_id = ? for update`, [rooms[0]?.id ?? ""]);
    const working = work();
    await waitUntil("the work waits for the first room", async () => (await countWaiting()) === 1);
    await acceptance.raw("set local lock_timeout = '300ms'");
    await acceptance.raw(`select 1 from ${table} where room_id = any(?) order by room_id for update`, [
      rooms.map(({ id }) => id),
    ]);
    await acceptance.commit();
    await working;
    expect(await countWaiting()).toBe(0);
  },
);
