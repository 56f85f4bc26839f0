import { newId } from "../../platform/ids.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";

export type UserEventKind = "room.added" | "room.removed" | "user.gone";

/** What a person's connections must hear; kept until Redis has taken it. */
export type NewUserEvent = { tenantId: string; kind: UserEventKind; userId: string; roomId: string | null };

export type QueuedUserEvent = {
  id: string;
  tenant_id: string;
  kind: UserEventKind;
  user_id: string;
  room_id: string | null;
};

/** Writes notices down, in the transaction that causes them; they are told in this order. */
export async function enqueueUserEvents(trx: Db, notices: readonly NewUserEvent[]): Promise<void> {
  if (notices.length === 0) return;
  await execute(
    trx,
    `insert into notices (id, tenant_id, kind, user_id, room_id, created_at)
     select n.*, clock_timestamp()
       from unnest(cast(:ids as uuid[]), cast(:tenantIds as uuid[]), cast(:kinds as text[]), cast(:userIds as uuid[]),
                   cast(:roomIds as uuid[])) as n`,
    {
      ids: notices.map(() => newId()),
      tenantIds: notices.map((notice) => notice.tenantId),
      kinds: notices.map((notice) => notice.kind),
      userIds: notices.map((notice) => notice.userId),
      roomIds: notices.map((notice) => notice.roomId),
    },
  );
}

/** The oldest notices that nobody else is telling; they are the caller's until the transaction ends. */
export function lockUserEvents(trx: Db, limit: number): Promise<QueuedUserEvent[]> {
  return rowsOf<QueuedUserEvent>(
    trx,
    `select id, tenant_id, kind, user_id, room_id from notices
      order by created_at, id limit ? for update skip locked`,
    [limit],
  );
}

export async function deleteUserEvents(trx: Db, ids: readonly string[]): Promise<void> {
  await execute(trx, "delete from notices where id = any(?)", [[...ids]]);
}
