import { presentError, presentState } from "../../timeline/present/message.ts";
import { presentSender } from "../../timeline/present/person.ts";
import { formatRoomKey, type RoomKind } from "../../contract/names.ts";
import type { MessageResource, MessageStatus } from "../../contract/resources.ts";
import type { TokenStamp } from "../../auth/token-claims.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { SENDER_COLUMNS, STATE_COLUMNS, STATE_JOINS, type StateColumns } from "../timeline/entries.ts";
import { holdsToken } from "../users/user-tokens.ts";

/** A stored message, with what a client sees of its sender and room. */
export type MessageRow = StateColumns & {
  id: string;
  tenant_id: string;
  room_id: string;
  /** Null for the product itself. */
  sender_id: string | null;
  kind: RoomKind;
  slug: string;
  client_id: string | null;
  request_hash: string | null;
  request_id: string | null;
  /** As the row keeps it: see `parseContent`. */
  content: Record<string, unknown>;
  order_number: number;
  status: MessageStatus;
  error_code: string | null;
  error_message: string | null;
  /** Its number in the timeline; null for a dead message of version 0.2. */
  number: number | null;
  /** Since when its content is empty. */
  deleted_at: Date | null;
  accepted_at: Date;
  sender_user: string | null;
  sender_ref?: string | null;
  sender_name?: string | null;
  sender_display_name: string | null;
  sender_avatar: string | null;
};

/** MessageRows; the caller adds `where` and `order by`. An act, which only its client id finds, has a hash that no message has. */
export const SELECT_MESSAGE = `
  select m.id, m.tenant_id, m.room_id, m.sender_id, r.kind, r.slug, m.client_id, case when m.target_id is null then encode(m.request_hash, 'hex') else 'act' end as request_hash, m.request_id,
         m.content, m.order_number, m.status, m.error_code, m.error_message, e.number, e.redacted_at as deleted_at, m.accepted_at,
         u.external_id as sender_user, u.display_name as sender_display_name, ${SENDER_COLUMNS},
         ${STATE_COLUMNS}
    from messages m join rooms r on r.id = m.room_id left join users u on u.id = m.sender_id
    left join timeline e on e.room_id = m.room_id and e.entry_id = m.id
    ${STATE_JOINS}`;

/** A message of a room, or null. */
export async function findMessage(
  db: Db,
  tenantId: string,
  roomId: string,
  id: string,
): Promise<MessageRow | null> {
  const rows = await rowsOf<MessageRow>(
    db,
    `${SELECT_MESSAGE} where m.tenant_id = ? and m.room_id = ? and m.id = ? and m.target_id is null`,
    [tenantId, roomId, id],
  );
  return rows[0] ?? null;
}

const HOLDS_TOKEN = holdsToken({
  issuedAtMs: "cast(:issuedAtMs as bigint)",
  generation: "cast(:generation as uuid)",
});

/** The message that an existing user of a tenant, who holds the token, sent under a client id; or null. */
export async function findMessageByClientId(
  db: Db,
  { stamp, ...sent }: { tenantId: string; user: string; stamp: TokenStamp | null; clientId: string },
): Promise<MessageRow | null> {
  const rows = await rowsOf<MessageRow>(
    db,
    `${SELECT_MESSAGE}
      where u.tenant_id = :tenantId and u.external_id = :user and u.deleted_at is null and m.client_id = :clientId
        and ${HOLDS_TOKEN}`,
    { ...sent, issuedAtMs: stamp?.issuedAtMs ?? null, generation: stamp?.generation ?? null },
  );
  return rows[0] ?? null;
}

/** A message as clients see it. */
export function presentMessage(row: MessageRow): MessageResource {
  return {
    id: row.id,
    room: formatRoomKey(row),
    number: row.number,
    clientId: row.client_id,
    sender: presentSender({ sender_ref: null, sender_name: null, ...row }, row.room_id),
    at: row.accepted_at.toISOString(),
    status: row.status,
    error: presentError(row),
    ...presentState({ redacted_at: row.deleted_at, ...row }),
  };
}
