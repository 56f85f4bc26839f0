import { appendEntries, type RoomEntries } from "../../shared/timeline/append.ts";
import { rowsOf, type Db } from "../../shared/db/open.ts";
import type { MatrixEvent } from "../matrix/sync-api.ts";
import { translateEvent, type EventFacts, type Translation } from "../matrix/translate-event.ts";

/** Events of a room, oldest first. */
export type RoomEvents = { roomId: string; matrixRoomId: string; events: readonly MatrixEvent[] };

type Of<K extends Translation["kind"]> = Extract<Translation, { kind: K }>;

/** What some rooms' events mean, sorted by what is to be done. */
export type Meaning = {
  entries: RoomEntries[];
  settled: { messageId: string; eventId: string; roomId: string }[];
  doubles: { roomId: string; eventId: string }[];
  memberships: { roomId: string; userId: string; applied: "in" | "out" }[];
  /** Rooms. */
  strangers: string[];
  drifts: { roomId: string; what: Of<"drift">["what"] }[];
  encrypted: string[];
  successors: { roomId: string; matrixRoomId: string }[];
  forged: number;
};

/** Reads rooms' events, oldest first. Pure. */
export function readMeaning(rooms: readonly RoomEvents[], facts: EventFacts): Meaning {
  const meaning: Meaning = {
    entries: [],
    settled: [],
    doubles: [],
    memberships: [],
    strangers: [],
    drifts: [],
    encrypted: [],
    successors: [],
    forged: 0,
  };
  const firsts = new Map<string, string>();
  for (const { roomId, events } of rooms) {
    const entries: RoomEntries["entries"][number][] = [];
    for (const event of events) {
      const translation = asFirst(firsts, translateEvent(roomId, event, facts), event.event_id);
      if (translation.kind === "message") {
        entries.push(translation.entry);
        if (translation.settles !== null) {
          meaning.settled.push({ messageId: translation.settles, eventId: event.event_id, roomId });
        }
        if (translation.isForged) meaning.forged++;
      } else addEffect(meaning, roomId, translation);
    }
    if (entries.length > 0) meaning.entries.push({ roomId, entries });
  }
  return meaning;
}

/** A message that comes twice among the same events is the first of them; `firsts` keeps which. */
function asFirst(firsts: Map<string, string>, translation: Translation, eventId: string): Translation {
  if (translation.kind !== "message" || translation.settles === null) return translation;
  const first = firsts.get(translation.settles) ?? eventId;
  firsts.set(translation.settles, first);
  return first === eventId ? translation : { kind: "double", eventId };
}

function addEffect(meaning: Meaning, roomId: string, translation: Exclude<Translation, Of<"message">>): void {
  if (translation.kind === "double") meaning.doubles.push({ roomId, eventId: translation.eventId });
  if (translation.kind === "membership") {
    meaning.memberships.push({ roomId, userId: translation.userId, applied: translation.applied });
  }
  if (translation.kind === "stranger") meaning.strangers.push(roomId);
  if (translation.kind === "drift") meaning.drifts.push({ roomId, what: translation.what });
  if (translation.kind === "encrypted") meaning.encrypted.push(roomId);
  if (translation.kind === "successor") {
    meaning.successors.push({ roomId, matrixRoomId: translation.matrixRoomId });
  }
}

/** A message of ours that stands in its timeline now. */
export type ToldMessage = { room: string; message: string; requestId: string | null; number: number };

/** Puts what events mean into the tables, in the caller's transaction. Answers our messages that came home. */
export async function applyMeaning(trx: Db, meaning: Meaning): Promise<ToldMessage[]> {
  await appendEntries(trx, meaning.entries);
  const told = meaning.settled.length > 0 ? await settleMessages(trx, meaning) : [];
  if (meaning.memberships.length > 0) await applyMemberships(trx, meaning.memberships);
  if (meaning.strangers.length > 0) await noteStrangers(trx, meaning.strangers);
  for (const successor of meaning.successors) await noteSuccessor(trx, successor);
  if (meaning.drifts.length > 0) await markDrift(trx, meaning.drifts);
  if (meaning.encrypted.length > 0) {
    await trx.raw("update rooms set encrypted_at = coalesce(encrypted_at, now()) where id = any(?)", [
      meaning.encrypted,
    ]);
  }
  return told;
}

/** Our messages are where they belong; who wrote one has read what stands before it. */
function settleMessages(trx: Db, { settled }: Meaning): Promise<ToldMessage[]> {
  return rowsOf<ToldMessage>(
    trx,
    `with settled as (
       select e.room_id, e.number, s.message_id, s.event_id
         from unnest(cast(:messageIds as uuid[]), cast(:eventIds as text[]), cast(:roomIds as uuid[]))
                as s(message_id, event_id, room_id)
         join timeline e on e.room_id = s.room_id and e.entry_id = s.message_id
     ), sent as (
       update messages m
          set status = 'sent', open = false, event_id = s.event_id, timeline_number = s.number, sent_at = coalesce(m.sent_at, now()),
              error_code = null, error_message = null
         from settled s where m.id = s.message_id and m.open
       returning m.id, m.room_id, m.sender_id, m.request_id, m.timeline_number
     ), read as (
       update memberships p set read_count = t.message_count
         from (select distinct room_id, sender_id from sent) w join room_timeline t on t.room_id = w.room_id
        where p.room_id = w.room_id and p.user_id = w.sender_id
     )
     select room_id as room, id as message, request_id as "requestId", timeline_number as number from sent
      order by room_id, timeline_number`,
    {
      messageIds: settled.map((message) => message.messageId),
      eventIds: settled.map((message) => message.eventId),
      roomIds: settled.map((message) => message.roomId),
    },
  );
}

/** Matrix shows who is in; where that is not what the tenant wants, the members' job is due. */
async function applyMemberships(trx: Db, memberships: Meaning["memberships"]): Promise<void> {
  const last = new Map(
    memberships.map((membership) => [`${membership.roomId} ${membership.userId}`, membership]),
  );
  const rows = [...last.values()];
  await trx.raw(
    `with m as (
       select * from unnest(cast(:roomIds as uuid[]), cast(:userIds as uuid[]), cast(:applied as text[])) as m(room_id, user_id, applied)
     ), unlisted as (
       select room_id from m
        where applied = 'in' and not exists (select 1 from memberships s where s.room_id = m.room_id and s.user_id = m.user_id)
     ), shown as (
       update memberships s set applied = m.applied from m
        where s.room_id = m.room_id and s.user_id = m.user_id and s.applied <> m.applied
       returning s.room_id, s.applied, s.desired
     )
     update rooms set members_next_attempt_at = least(coalesce(members_next_attempt_at, now()), now()),
            members_desired_version = members_desired_version + 1,
            strangers_seen_at = case when id in (select room_id from unlisted) then now() else strangers_seen_at end
      where id in (select room_id from shown where applied <> desired union select room_id from unlisted) and deleted_at is null`,
    {
      roomIds: rows.map((row) => row.roomId),
      userIds: rows.map((row) => row.userId),
      applied: rows.map((row) => row.applied),
    },
  );
}

/** In a private room, nobody is whom the tenant does not know: the members' job looks for them. */
async function noteStrangers(trx: Db, roomIds: string[]): Promise<void> {
  await trx.raw(
    `update rooms set strangers_seen_at = now(), members_desired_version = members_desired_version + 1,
            members_next_attempt_at = least(coalesce(members_next_attempt_at, now()), now())
      where id = any(?) and visibility = 'private' and deleted_at is null`,
    [roomIds],
  );
}

/** The room's provisioning follows it, under the room's lease. */
async function noteSuccessor(
  trx: Db,
  { roomId, matrixRoomId }: Meaning["successors"][number],
): Promise<void> {
  await trx.raw(
    "update rooms set successor_matrix_room_id = ?, next_attempt_at = now() where id = ? and deleted_at is null",
    [matrixRoomId, roomId],
  );
}

/** The tenant decides names and levels: what somebody changed on Matrix is put back. */
async function markDrift(trx: Db, drifts: Meaning["drifts"]): Promise<void> {
  const roomsOf = (what: string) =>
    drifts.filter((drift) => drift.what === what).map((drift) => drift.roomId);
  await trx.raw(
    `update rooms
        set members_desired_version = members_desired_version + case when id = any(:levels) then 1 else 0 end,
            members_next_attempt_at = case when id = any(:levels) then now() else members_next_attempt_at end,
            desired_version = desired_version + case when id = any(:descriptions) then 1 else 0 end,
            next_attempt_at = case when id = any(:descriptions) then now() else next_attempt_at end
      where id = any(:rooms) and deleted_at is null`,
    {
      levels: roomsOf("levels"),
      descriptions: roomsOf("description"),
      rooms: drifts.map((drift) => drift.roomId),
    },
  );
}
