import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { newFence, newId } from "../../shared/platform/ids.ts";
import { roomStreamKey } from "../../shared/platform/redis-keys.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { RoomState } from "../../shared/db/timeline/append.ts";
import type { NewMessage } from "../../shared/db/messages/accept/accept-messages.ts";

/** A tenant with rooms that exist, each with a user who has joined. Only messages are left to send. */
export type Fixture = { tenantId: string; message: (index: number) => NewMessage };

const TEXT = "x".repeat(200);

export async function createFixture(db: Db, rooms: number): Promise<Fixture> {
  const tenantId = newId();
  const homeserverId = newId();
  const observerId = newId();
  const slug = `bench-${tenantId.slice(-8)}`;
  await db("homeservers").insert({
    id: homeserverId,
    server_name: slug,
    base_url: "http://localhost",
    mode: "appservice",
    sealed_secrets: "-",
  });
  await db("tenants").insert({ id: tenantId, slug, homeserver_id: homeserverId, sealed_token_keys: "-" });
  await db("observers").insert({
    id: observerId,
    tenant_id: tenantId,
    matrix_user_id: `@${slug}:bench`,
    is_registered: true,
  });
  for (let index = 0; index < rooms; index++) await createRoom(db, { tenantId, observerId, slug, index });
  return {
    tenantId,
    message: (index) => ({
      tenantId,
      user: `user-${String(index % rooms)}`,
      room: { kind: "group", slug: `room-${String(index % rooms)}` },
      content: { kind: "text", text: TEXT },
      clientId: null,
      requestHash: null,
      stamp: null,
    }),
  };
}

async function createRoom(
  db: Db,
  {
    tenantId,
    observerId,
    slug,
    index,
  }: { tenantId: string; observerId: string; slug: string; index: number },
): Promise<void> {
  const roomId = newId();
  const userId = newId();
  const name = String(index);
  await db("users").insert({
    id: userId,
    tenant_id: tenantId,
    external_id: `user-${name}`,
    matrix_user_id: `@${slug}-${name}:bench`,
    status: "ready",
    applied_version: 1,
    next_attempt_at: null,
  });
  await db("rooms").insert({
    id: roomId,
    tenant_id: tenantId,
    kind: "group",
    slug: `room-${name}`,
    name,
    observer_id: observerId,
    matrix_room_id: `!${roomId}`,
    status: "ready",
    applied_version: 1,
    next_attempt_at: null,
  });
  await db("room_outbox").insert({ room_id: roomId, tenant_id: tenantId });
  await db("room_timeline").insert({ room_id: roomId, tenant_id: tenantId, epoch: newFence() });
  await db("memberships").insert({
    room_id: roomId,
    user_id: userId,
    tenant_id: tenantId,
    role: "member",
    applied: "in",
    applied_version: 1,
  });
}

export type Ledger = { accepted: number; sent: number; lastSentAt: Date | null };

/** The states of the messages accepted since a moment. */
export async function readLedger(db: Db, tenantId: string, since: Date): Promise<Ledger> {
  const rows = await rowsOf<{ accepted: number; sent: number; last: Date | null }>(
    db,
    `select count(*) as accepted, count(*) filter (where status = 'sent') as sent, max(sent_at) as last
       from messages where tenant_id = ? and accepted_at >= ?`,
    [tenantId, since],
  );
  const row = rows[0];
  return { accepted: row?.accepted ?? 0, sent: row?.sent ?? 0, lastSentAt: row?.last ?? null };
}

/** How many messages were sent since a moment, and the seconds from the first to the last. */
export async function readSentSince(
  db: Db,
  tenantId: string,
  since: Date,
): Promise<{ sent: number; seconds: number }> {
  const rows = await rowsOf<{ sent: number; seconds: number }>(
    db,
    `select count(*) as sent, coalesce(extract(epoch from max(sent_at) - min(sent_at)), 0)::float8 as seconds
       from messages where tenant_id = ? and sent_at >= ?`,
    [tenantId, since],
  );
  return rows[0] ?? { sent: 0, seconds: 0 };
}

/** Rooms whose stream ends before their timeline. */
export async function countUnpublished(db: Db, redis: Redis): Promise<number> {
  const rooms = await rowsOf<RoomState>(db, "select room_id, epoch, last_number from room_timeline", []);
  const pipeline = redis.pipeline();
  for (const room of rooms) pipeline.xrevrange(roomStreamKey(room.room_id, room.epoch), "+", "-", "COUNT", 1);
  const ends = ((await pipeline.exec()) ?? []).map(([, entries]) =>
    Number.parseInt((entries as [id: string][])[0]?.[0] ?? "0", 10),
  );
  return rooms.filter(({ last_number: last }, index) => ends[index] !== last).length;
}

/** The time by Postgres's clock. */
export async function readNow(db: Db): Promise<Date> {
  const rows = await rowsOf<{ now: Date }>(db, "select now()", []);
  return rows[0]?.now ?? new Date();
}
