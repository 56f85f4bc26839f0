import { MESSAGE_ENTRY_TYPES } from "../../../contract/content/index.ts";
import { rowsOf, type Db } from "../../connection/open.ts";

/** A member of a room, as a message names the person. */
type NamedMember = { user: string; name: string };

export type Mentionable = {
  /** Those of the named people who are members. */
  members: NamedMember[];
  /** The message that is answered; null for none of this room. `author`: null for one who is no member. */
  replied: { author: NamedMember | null; thread: string | null } | null;
};

const MEMBER = "jsonb_build_object('user', u.external_id, 'name', coalesce(u.display_name, u.external_id))";
const IS_MEMBER = "s.room_id = :roomId and s.user_id = u.id and s.desired = 'in'";

/** Whom a message in a room may mention, of the people that it names, and what it answers. One query. */
export async function findMentionable(
  db: Db,
  given: { tenantId: string; roomId: string; users: readonly string[]; replyTo: string | null },
): Promise<Mentionable> {
  const [row] = await rowsOf<Mentionable>(
    db,
    `select (select coalesce(jsonb_agg(${MEMBER}), '[]')
               from jsonb_array_elements_text(cast(:users as jsonb)) as n(name)
               join users u on u.tenant_id = :tenantId and u.external_id = n.name and u.deleted_at is null
               join memberships s on ${IS_MEMBER}) as members,
            (select jsonb_build_object('author', case when s.user_id is not null then ${MEMBER} end, 'thread', e.content ->> 'thread')
               from timeline e
               left join users u on u.id = e.sender_id and u.deleted_at is null
               left join memberships s on ${IS_MEMBER}
              where e.room_id = :roomId and e.entry_id = cast(:replyTo as uuid) and e.type = any(:messages)) as replied`,
    { ...given, users: JSON.stringify(given.users), messages: [...MESSAGE_ENTRY_TYPES] },
  );
  return row ?? { members: [], replied: null };
}
