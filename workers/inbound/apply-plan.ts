import { transactPipelined, type Statement } from "../../shared/db/connection/pipelined-transaction.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { appendStatement, type AppendedRow } from "../../shared/timeline/append.ts";
import type { SyncPlan } from "./sync-plan.ts";
import { appendOwn, type OwnEvent } from "./own-messages.ts";

/** A message of ours that stands in its timeline now. */
export type PublishedMessage = { room: string; message: string; requestId: string | null; number: number };

/** What a transaction put into the timelines, in order, and which of that are our messages. */
export type Applied = { appended: AppendedRow[]; told: PublishedMessage[] };

/**
 * Puts what events mean into the tables, between statements of the caller's that require what the meaning was read from
 * to be so still: all in one transaction and one round trip.
 * @throws as `transactPipelined`
 */
export async function applySyncPlan(
  db: Db,
  { require, plan, also }: { require: Statement; plan: SyncPlan; also: readonly Statement[] },
): Promise<Applied> {
  const { entries, settled } = plan;
  const telling: Telling = entries.length > 0 ? [appendStatement(entries), settleMessages(settled)] : [];
  return apply(db, { require, telling, also: [...effectsOf(plan), ...also] });
}

/**
 * Puts messages of ours into the timelines by what their rows say, under the same terms; their rooms' timelines are
 * locked by `require`.
 * @throws as `transactPipelined`, VIEW_STALE too when one of them is not ours, or in its timeline already.
 */
export function applyOwn(
  db: Db,
  { require, own }: { require: Statement; own: readonly OwnEvent[] },
): Promise<Applied> {
  return apply(db, { require, telling: [appendOwn(own), settleMessages(own)], also: [] });
}

type Telling = [append: Statement, settle: Statement] | [];

async function apply(
  db: Db,
  { require, telling, also }: { require: Statement; telling: Telling; also: readonly Statement[] },
): Promise<Applied> {
  const rows = await transactPipelined<unknown[][]>(db, [require, ...telling, ...also]);
  const [appended = [], told = []] = rows.slice(1, 1 + telling.length) as [
    AppendedRow[]?,
    PublishedMessage[]?,
  ];
  const requestIds = new Map(told.map(({ message, requestId }) => [message, requestId]));
  return {
    appended: appended.map((row) => ({ ...row, request_id: requestIds.get(row.entry_id) ?? null })),
    told,
  };
}

/** What some events change beside the timelines. */
function effectsOf(plan: SyncPlan): Statement[] {
  return [
    ...(plan.memberships.length > 0 ? [applyMemberships(plan.memberships)] : []),
    ...(plan.unknownUsers.length > 0 ? [noteUnknownUsers(plan.unknownUsers)] : []),
    ...plan.successors.map(noteSuccessor),
    ...(plan.configurationDrifts.length > 0 ? [markConfigurationDrift(plan.configurationDrifts)] : []),
    ...(plan.encrypted.length > 0 ? [markEncrypted(plan.encrypted)] : []),
  ];
}

function markEncrypted(roomIds: string[]): Statement {
  return {
    sql: "update rooms set encrypted_at = coalesce(encrypted_at, now()) where id = any(?)",
    bindings: [roomIds],
  };
}

/** Our messages are where they belong; who wrote one has read what stands before it. */
function settleMessages(settled: Readonly<SyncPlan["settled"]>): Statement {
  // Its lists are parameters, so that Postgres plans it anew for the tables as they are: a plan that it keeps for a list of
  // unknown length is made for a hundred, and from a young table it keeps one that reads all of it.
  return {
    sql: `with settled as (
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
    bindings: {
      messageIds: settled.map((message) => message.messageId),
      eventIds: settled.map((message) => message.eventId),
      roomIds: settled.map((message) => message.roomId),
    },
  };
}

/** Matrix shows who is in; where that is not what the tenant wants, the members' job is due. */
function applyMemberships(memberships: SyncPlan["memberships"]): Statement {
  const last = new Map(
    memberships.map((membership) => [`${membership.roomId} ${membership.userId}`, membership]),
  );
  const rows = [...last.values()];
  return {
    sql: `with m as (
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
    bindings: {
      roomIds: rows.map((row) => row.roomId),
      userIds: rows.map((row) => row.userId),
      applied: rows.map((row) => row.applied),
    },
  };
}

/** In a private room, nobody is whom the tenant does not know: the members' job looks for them. */
function noteUnknownUsers(roomIds: string[]): Statement {
  return {
    sql: `update rooms set strangers_seen_at = now(), members_desired_version = members_desired_version + 1,
            members_next_attempt_at = least(coalesce(members_next_attempt_at, now()), now())
      where id = any(?) and visibility = 'private' and deleted_at is null`,
    bindings: [roomIds],
  };
}

/** The room's provisioning follows it, under the room's lease. */
function noteSuccessor({ roomId, matrixRoomId }: SyncPlan["successors"][number]): Statement {
  return {
    sql: "update rooms set successor_matrix_room_id = ?, next_attempt_at = now() where id = ? and deleted_at is null",
    bindings: [matrixRoomId, roomId],
  };
}

/** The tenant decides names and levels: what somebody changed on Matrix is put back. */
function markConfigurationDrift(configurationDrifts: SyncPlan["configurationDrifts"]): Statement {
  const roomsOf = (what: string) =>
    configurationDrifts.filter((drift) => drift.what === what).map((drift) => drift.roomId);
  return {
    sql: `update rooms
        set members_desired_version = members_desired_version + case when id = any(:levels) then 1 else 0 end,
            members_next_attempt_at = case when id = any(:levels) then now() else members_next_attempt_at end,
            desired_version = desired_version + case when id = any(:descriptions) then 1 else 0 end,
            next_attempt_at = case when id = any(:descriptions) then now() else next_attempt_at end
      where id = any(:rooms) and deleted_at is null`,
    bindings: {
      levels: roomsOf("levels"),
      descriptions: roomsOf("description"),
      rooms: configurationDrifts.map((drift) => drift.roomId),
    },
  };
}
