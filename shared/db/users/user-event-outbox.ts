import { newId } from "../../platform/ids.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";

export type UserEventKind = "room.added" | "room.removed" | "user.gone" | "tokens.revoked" | "settings";

/** An event for a user's connections. It is kept until it is published to Redis. */
export type NewUserEvent = { tenantId: string; kind: UserEventKind; userId: string; roomId: string | null };

export type QueuedUserEvent = {
  id: string;
  tenant_id: string;
  kind: UserEventKind;
  user_id: string;
  room_id: string | null;
};

/** Inserts events in the transaction that causes them. They are published in this order. */
export async function enqueueUserEvents(trx: Db, events: readonly NewUserEvent[]): Promise<void> {
  if (events.length === 0) return;
  await execute(
    trx,
    `insert into notices (id, tenant_id, kind, user_id, room_id, created_at)
     select n.*, clock_timestamp()
       from unnest(cast(:ids as uuid[]), cast(:tenantIds as uuid[]), cast(:kinds as text[]), cast(:userIds as uuid[]),
                   cast(:roomIds as uuid[])) as n`,
    {
      ids: events.map(() => newId()),
      tenantIds: events.map((event) => event.tenantId),
      kinds: events.map((event) => event.kind),
      userIds: events.map((event) => event.userId),
      roomIds: events.map((event) => event.roomId),
    },
  );
}

/**
 * Locks the oldest events that no other process is publishing, until the transaction ends: by turns over the tenants, so
 * that the thousand people whom one adds do not delay another's one.
 */
export function lockUserEvents(trx: Db, limit: number): Promise<QueuedUserEvent[]> {
  return rowsOf<QueuedUserEvent>(
    trx,
    `select n.id, n.tenant_id, n.kind, n.user_id, n.room_id
       from notices n
       join (select id, row_number() over (partition by tenant_id order by created_at, id) as place from notices) turn
         on turn.id = n.id
      order by turn.place, n.created_at, n.id limit ? for update of n skip locked`,
    [limit],
  );
}

export async function deleteUserEvents(trx: Db, ids: readonly string[]): Promise<void> {
  await execute(trx, "delete from notices where id = any(?)", [[...ids]]);
}
