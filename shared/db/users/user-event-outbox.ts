import { newId } from "../../platform/ids.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";

export type UserEventKind =
  "room.added" | "room.removed" | "room.renamed" | "user.gone" | "tokens.revoked" | "settings";

/** An event for a user's connections. It is kept until it is published to Redis. */
export type NewUserEvent = {
  tenantId: string;
  kind: Exclude<UserEventKind, "room.renamed">;
  userId: string;
  roomId: string | null;
};

export type QueuedUserEvent = {
  id: string;
  tenant_id: string;
  kind: UserEventKind;
  user_id: string;
  room_id: string | null;
  /** Of a renamed room: the key that it had. */
  former_key: string | null;
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

/** Inserts an event for each member of renamed rooms, with the key that the room had. */
export async function enqueueRoomsRenamed(
  trx: Db,
  renamed: readonly { roomId: string; formerKey: string }[],
): Promise<void> {
  if (renamed.length === 0) return;
  await execute(
    trx,
    `insert into notices (id, tenant_id, kind, user_id, room_id, former_key, created_at)
     select gen_random_uuid(), s.tenant_id, 'room.renamed', s.user_id, s.room_id, w.former_key, clock_timestamp()
       from unnest(cast(:roomIds as uuid[]), cast(:formerKeys as text[])) as w(room_id, former_key)
       join memberships s on s.room_id = w.room_id and s.desired = 'in'
      order by s.room_id, s.user_id`,
    {
      roomIds: renamed.map(({ roomId }) => roomId),
      formerKeys: renamed.map(({ formerKey }) => formerKey),
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
    `select n.id, n.tenant_id, n.kind, n.user_id, n.room_id, n.former_key
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
