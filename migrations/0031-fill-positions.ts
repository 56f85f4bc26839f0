import type { Knex } from "knex";

// What members had read before 0029, and what processes of version 0.3 wrote beside it, gets its number: in parts, so that nobody
// waits for it and it may be interrupted and repeated. What the migrations before it left unchecked or without an index follows,
// beside running processes.
const UNCHECKED = [
  ["rooms", "rooms_posting_check"],
  ["rooms", "rooms_join_rule_check"],
  ["messages", "messages_acts_as_check"],
  ["memberships", "memberships_notify_check"],
  ["notices", "notices_kind_check"],
] as const;

const MEMBERSHIPS_AT_ONCE = 1_000;
const FIRST = "00000000-0000-0000-0000-000000000000";
const LOGGED_EVERY = 20;
/** A row that somebody changes meanwhile is left to the next pass. */
const PASSES_AT_MOST = 20;

// Members who have read all stand at the last entry; the others at their nth message, which is counted from the newest one.
const FILL = `
  with part as (
    select s.room_id, s.user_id, s.read_count from memberships s
     where (s.room_id, s.user_id) > (cast(:room as uuid), cast(:user as uuid)) and s.read_number = 0 and s.read_count > 0
     order by s.room_id, s.user_id limit :limit
  ), placed as (
    select p.*, t.last_number, t.message_count, p.read_count >= t.message_count as has_all
      from part p join room_timeline t on t.room_id = p.room_id
  ), counted as (
    select b.room_id, e.number, b.message_count - e.place + 1 as read_count
      from (select room_id, message_count, min(read_count) as least from placed where not has_all group by room_id, message_count) b
      cross join lateral (
        select x.number, row_number() over (order by x.number desc) as place from timeline x
         where x.room_id = b.room_id and x.type = 'message.created'
         order by x.number desc limit b.message_count - b.least + 1) e
  ), found as (
    select p.room_id, p.user_id, p.read_count, case when p.has_all then p.last_number else c.number end as number
      from placed p left join counted c on c.room_id = p.room_id and c.read_count = p.read_count and not p.has_all
  ), free as (
    select f.* from memberships s join found f using (room_id, user_id)
     where s.read_number = 0 and s.read_count = f.read_count and f.number > 0
       for no key update of s skip locked
  ), filled as (
    update memberships s set read_number = f.number, receipt_number = greatest(s.receipt_number, f.number)
      from free f where s.room_id = f.room_id and s.user_id = f.user_id
    returning 1
  )
  select (select count(*) from filled) as filled, (select count(*) from part) as seen, l.room_id, l.user_id
    from (select room_id, user_id from part order by room_id desc, user_id desc limit 1) l`;

type Part = { filled: number; seen: number; room_id: string; user_id: string };

export async function up(db: Knex): Promise<void> {
  for (let pass = 0; pass < PASSES_AT_MOST && (await fillOnce(db)) > 0; pass++);
  for (const [table, check] of UNCHECKED) await db.raw(`alter table ${table} validate constraint ${check}`);
  // One whose building was interrupted stays, and is not used.
  await db.raw("drop index if exists rooms_directory");
  await db.raw(`create index concurrently rooms_directory on rooms (tenant_id, lower(name) collate "C", id)
    where visibility = 'public' and deleted_at is null`);
}

/** Goes through all memberships once. Returns how many it filled. */
async function fillOnce(db: Knex): Promise<number> {
  let after = { room: FIRST, user: FIRST };
  let filled = 0;
  for (let parts = 1; ; parts++) {
    const { rows } = await db.raw<{ rows: Part[] }>(FILL, { ...after, limit: MEMBERSHIPS_AT_ONCE });
    const [part] = rows;
    filled += part?.filled ?? 0;
    if (!part || part.seen < MEMBERSHIPS_AT_ONCE) return filled;
    after = { room: part.room_id, user: part.user_id };
    if (parts % LOGGED_EVERY === 0) process.stdout.write(`0031: positions of ${String(filled)} members\n`);
  }
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop index if exists rooms_directory");
}

export const config = { transaction: false };
