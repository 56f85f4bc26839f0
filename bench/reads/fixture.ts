import { createTenant, openTokenKeys } from "../../shared/db/tenants/tenants.ts";
import { ensureHomeserver } from "../../shared/db/homeservers/homeservers.ts";
import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { upsertMembers } from "../../shared/db/memberships/memberships.ts";
import { findRoom, insertRoom } from "../../shared/db/rooms/rooms.ts";
import { ensureUsers } from "../../shared/db/users/users.ts";
import { signUserToken } from "../../shared/auth/tokens.ts";
import type { Config } from "../../shared/platform/config.ts";

export type Size = { members: number; rooms: number; messages: number; reactions: number };

const TENANT = "reads";
/** Of the messages, those of the big room; the others have the same share each. */
const SHARE_OF_MAIN = 0.8;
const REACTIONS_OF_MESSAGE = 5;
const TEXT = "x".repeat(200);

/** The person who reads: a member of every room, who has read the older half of each. `middle`: a number in the big room. */
export type Fixture = { token: string; middle: number };

/** A big room with all members, and small rooms, all public; each message has been sent. */
export async function createFixture(db: Db, config: Config, size: Size): Promise<Fixture> {
  const homeserver = await ensureHomeserver(db, config.sealKeys, config.homeserver);
  const { tenant } = await createTenant(db, config.sealKeys, { slug: TENANT, homeserver });
  const reader = await createUsers(db, tenant.id, ["ada"]);
  const others = await createUsers(
    db,
    tenant.id,
    Array.from({ length: size.members - 1 }, (_, index) => `user-${String(index)}`),
  );
  const ofMain = Math.round(size.messages * SHARE_OF_MAIN);
  const ofEach = Math.round((size.messages - ofMain) / Math.max(1, size.rooms - 1));
  for (let index = 0; index < size.rooms; index++) {
    const isMain = index === 0;
    const slug = isMain ? "main" : `room-${String(index)}`;
    const members = [...reader, ...(isMain ? others : others.slice(0, 1))];
    const roomId = await createRoom(db, tenant.id, slug, members);
    await createMessages(db, tenant.id, { roomId, count: isMain ? ofMain : ofEach });
    if (isMain) await createReactions(db, tenant.id, { roomId, count: size.reactions });
  }
  await markRead(db, reader);
  await db.raw("analyze");
  const keys = openTokenKeys(config.sealKeys, tenant);
  const signed = await signUserToken(
    keys,
    { tenant: TENANT, user: "ada" },
    { nowMs: Date.now(), lifetimeS: 3_600 },
  );
  return { token: signed.token, middle: Math.round(ofMain / 2) };
}

const USERS_AT_ONCE = 500;

async function createUsers(db: Db, tenantId: string, users: readonly string[]): Promise<string[]> {
  const ids: string[] = [];
  for (let from = 0; from < users.length; from += USERS_AT_ONCE) {
    const made = await ensureUsers(db, tenantId, users.slice(from, from + USERS_AT_ONCE));
    ids.push(...[...made.values()].map(({ id }) => id));
  }
  return ids;
}

async function createRoom(
  db: Db,
  tenantId: string,
  slug: string,
  userIds: readonly string[],
): Promise<string> {
  const address = { kind: "group", slug } as const;
  const attributes = {
    name: slug,
    topic: null,
    avatar: null,
    visibility: "public",
    join: "open",
    posting: "everyone",
    slowModeS: 0,
    retentionDays: 0,
  } as const;
  await insertRoom(db, tenantId, address, attributes);
  const room = await findRoom(db, tenantId, address);
  if (!room) throw new Error(`${slug} was not made`);
  await upsertMembers(
    db,
    tenantId,
    room.id,
    userIds.map((userId) => ({ userId, role: "member" })),
  );
  await db.raw("update rooms set member_count = ? where id = ?", [userIds.length, room.id]);
  return room.id;
}

const MESSAGES_AT_ONCE = 5_000;

/** Messages of the members in turn. */
async function createMessages(
  db: Db,
  tenantId: string,
  { roomId, count }: { roomId: string; count: number },
): Promise<void> {
  const content = JSON.stringify({ kind: "text", text: TEXT });
  for (let from = 1; from <= count; from += MESSAGES_AT_ONCE) {
    const to = Math.min(count, from + MESSAGES_AT_ONCE - 1);
    await rowsOf(db, INSERT_MESSAGES, { roomId, tenantId, count, content, from, to });
  }
  await rowsOf(
    db,
    `update room_timeline set last_number = :count, published_number = :count, message_count = :count, last_message_number = :count,
            last_message_at = now() where room_id = :roomId`,
    { roomId, count },
  );
}

const INSERT_MESSAGES = `
     with people as (
       select array_agg(user_id order by user_id) as ids from memberships where room_id = :roomId
     ), written as (
       insert into timeline (room_id, number, tenant_id, entry_id, event_id, type, sender_id, content, at, ordinal)
       select cast(:roomId as uuid), n, cast(:tenantId as uuid), gen_random_uuid(), '$' || n, 'message.created',
              ids[1 + n % cardinality(ids)], cast(:content as jsonb), now() - (cast(:count as int) - n) * interval '1 second', n
         from people, generate_series(cast(:from as int), cast(:to as int)) n
       returning *
     )
     insert into messages (id, tenant_id, room_id, sender_id, content, order_number, status, open, numbered, sent_at, event_id, seen_event_id)
     select entry_id, tenant_id, room_id, sender_id, content, number, 'sent', false, true, at, event_id, event_id from written`;

/** So many reactions on the newest messages. */
async function createReactions(
  db: Db,
  tenantId: string,
  { roomId, count }: { roomId: string; count: number },
): Promise<void> {
  const messages = Math.ceil(count / REACTIONS_OF_MESSAGE);
  for (let skipped = 0; skipped < messages; skipped += MESSAGES_AT_ONCE) {
    const most = Math.min(MESSAGES_AT_ONCE, messages - skipped);
    await rowsOf(db, INSERT_REACTIONS, { roomId, tenantId, skipped, most, each: REACTIONS_OF_MESSAGE });
  }
}

const INSERT_REACTIONS = `
     with people as (
       select (array_agg(user_id order by user_id))[1:cast(:each as int)] as ids from memberships where room_id = :roomId
     ), newest as (
       select room_id, entry_id, number from timeline where room_id = :roomId order by number desc offset cast(:skipped as int) limit cast(:most as int)
     ), given as (
       insert into reactions (room_id, message_id, key, person, tenant_id, user_id, number, at)
       select room_id, entry_id, case when id = ids[1] then '-' else '+' end, id, cast(:tenantId as uuid), id, number, now()
         from newest, people, unnest(ids) id
     ), counted as (
       insert into reaction_counts (room_id, message_id, key, count, users, rose_at)
       select room_id, entry_id, key, cardinality(users), users, number
         from newest, people, lateral (values ('-', ids[1:1]), ('+', ids[2:])) as k(key, users)
     )
     insert into message_states (room_id, message_id, tenant_id, number, revision, has_reactions)
     select room_id, entry_id, cast(:tenantId as uuid), number, number, true from newest`;

/** The reader has read the older half of each room. */
async function markRead(db: Db, userIds: readonly string[]): Promise<void> {
  await rowsOf(
    db,
    `update memberships s set read_number = t.last_number / 2, read_count = t.last_number / 2, receipt_number = t.last_number / 2,
            own_above = (select count(*) from timeline e where e.room_id = s.room_id and e.sender_id = s.user_id and e.number > t.last_number / 2)
       from room_timeline t where t.room_id = s.room_id and s.user_id = any(?)`,
    [[...userIds]],
  );
}
