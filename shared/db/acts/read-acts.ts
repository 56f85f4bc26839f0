import type { MessageStatus, MessageVersion } from "../../contract/resources.ts";
import type { ActKind } from "../../contract/content/acts.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import type { PersonColumns } from "../timeline/entries.ts";
import { VERSIONS } from "./edit.ts";

/** An act as its row of the outbox says. */
export type ActStatusRow = {
  id: string;
  target_id: string;
  status: MessageStatus;
  error_code: string | null;
  error_message: string | null;
};

const SELECT_ACT = "select id, target_id, status, error_code, error_message from messages";

/** An act of a tenant by its id; null for a message. */
export async function findAct(db: Db, tenantId: string, id: string): Promise<ActStatusRow | null> {
  const [row] = await rowsOf<ActStatusRow>(
    db,
    `${SELECT_ACT} where tenant_id = ? and id = ? and target_id is not null`,
    [tenantId, id],
  );
  return row ?? null;
}

/**
 * The last act on a message that has brought it to where it is: its deletion or pinning, or what a person last did with a key. Null where
 * that came from Matrix.
 */
export async function findLastAct(
  db: Db,
  last: { tenantId: string; target: string; kinds: readonly ActKind[]; key: string | null; person: string },
): Promise<ActStatusRow | null> {
  const [row] = await rowsOf<ActStatusRow>(
    db,
    `${SELECT_ACT}
      where tenant_id = :tenantId and target_id = :target
        and content ->> 'kind' = any(:kinds) and (cast(:key as text) is null or content ->> 'key' = :key and sender_id = :person)
      order by order_number desc limit 1`,
    { ...last, kinds: [...last.kinds] },
  );
  return row ?? null;
}

/** The keys with which a person reacted to messages of a room, by message. */
export async function readOwnReactions(
  db: Db,
  { roomId, person }: { roomId: string; person: string },
  messageIds: readonly string[],
): Promise<Map<string, string[]>> {
  if (messageIds.length === 0) return new Map();
  const rows = await rowsOf<{ message_id: string; keys: string[] }>(
    db,
    `select message_id, array_agg(key order by number) as keys from reactions
      where room_id = :roomId and message_id = any(:messageIds) and person = :person group by message_id`,
    { roomId, person, messageIds: [...messageIds] },
  );
  return new Map(rows.map(({ message_id: id, keys }) => [id, keys]));
}

/** How often a key of a message is used, and by whom. */
export async function readCount(
  db: Db,
  { roomId, target, key }: { roomId: string; target: string; key: string },
): Promise<number> {
  const [row] = await rowsOf<{ count: number }>(
    db,
    "select count from reaction_counts where room_id = ? and message_id = ? and key = ?",
    [roomId, target, key],
  );
  return row?.count ?? 0;
}

export type ReactionRow = { key: string; number: number; at: Date; user: PersonColumns };

/** Who reacted to a message, in the order of the reactions; after a number. */
export function listReactions(
  db: Db,
  given: { roomId: string; target: string; key: string | null; after: number; limit: number },
): Promise<ReactionRow[]> {
  return rowsOf<ReactionRow>(
    db,
    `select r.key, r.number, r.at, jsonb_build_object('ref', r.person, 'user', u.external_id,
            'displayName', coalesce(u.display_name, r.name), 'avatar', u.avatar) as user
       from reactions r left join users u on u.id = r.user_id and u.deleted_at is null
      where r.room_id = :roomId and r.message_id = :target and r.key = coalesce(cast(:key as text), r.key) and r.number > :after
      order by r.number limit :limit`,
    given,
  );
}

type VersionRow = Omit<MessageVersion, "at"> & { at: Date };

/** The texts that a message had before its present one, the oldest first, at most `limit` of the newest. */
export async function listVersions(
  db: Db,
  given: { roomId: string; target: string; limit: number },
): Promise<VersionRow[]> {
  const rows = await rowsOf<VersionRow>(
    db,
    `with e as (select * from timeline where room_id = :roomId and entry_id = :target), versions as (
       select number, at, content from e
       union all
       select v.number, v.at, v.content from timeline v where v.room_id = :roomId and v.relates_to = :target and ${VERSIONS})
     select v.number, v.at, v.content ->> 'text' as text, coalesce(v.content ->> 'format', 'plain') as format, v.content ->> 'html' as html
       from versions v cross join e
       left join message_states st on st.room_id = e.room_id and st.message_id = e.entry_id
      where v.number <> coalesce(st.edit_number, e.number)
      order by v.number desc limit :limit`,
    given,
  );
  return rows.reverse();
}
