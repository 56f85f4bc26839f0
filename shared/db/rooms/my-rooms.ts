import { firstCharacters } from "../../contract/first-characters.ts";
import type { Role } from "../../contract/roles.ts";
import type { MessageResource, MyRoomResource } from "../../contract/resources.ts";
import { presentTimelineMessage } from "../../timeline/present/message.ts";
import { ENTRY_COLUMNS, ENTRY_JOINS, type EntryRow } from "../timeline/entries.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { presentSettings, type SettingsRow } from "../memberships/settings.ts";
import { MENTIONS, UNREAD } from "../memberships/signs/unread.ts";
import { JOIN_MIRROR, SENT_NUMBER } from "./room-mirrors.ts";
import { presentRoom, type RoomWithPosition } from "./rooms.ts";

/** A place in a list of rooms, newest activity first. */
export type ActivityCursor = { atMs: number; roomId: string };

/** A room as one of its members sees it. */
export type MyRoomRow = RoomWithPosition &
  SettingsRow & {
    user_id: string;
    role: Role;
    unread: number;
    mentions: number;
    last_message_number: number | null;
    active_at: Date;
  };

// Activity is compared in whole milliseconds, which is what a cursor can carry.
const ACTIVE_AT = "date_trunc('milliseconds', coalesce(t.last_message_at, r.created_at))";

const SELECT_MY_ROOM = `
  select r.*, t.epoch, t.last_number, ${SENT_NUMBER}, t.last_message_number, s.user_id, s.role,
         s.notify, s.muted_until, s.pinned, s.archived,
         ${UNREAD("s")} as unread, ${MENTIONS("s")} as mentions, ${ACTIVE_AT} as active_at
    from memberships s
    join rooms r on r.id = s.room_id and r.deleted_at is null
    join room_timeline t on t.room_id = r.id ${JOIN_MIRROR}`;

/** A page of a user's rooms, newest activity first. Ask for one room more than the page has to learn of a next page. */
export async function listMyRooms(
  db: Db,
  tenantId: string,
  user: string,
  { limit, cursor }: { limit: number; cursor: ActivityCursor | null },
): Promise<MyRoomRow[]> {
  return rowsOf<MyRoomRow>(
    db,
    `${SELECT_MY_ROOM}
       join users u on u.id = s.user_id and u.tenant_id = :tenantId and u.external_id = :user and u.deleted_at is null
      where s.tenant_id = :tenantId and s.desired = 'in'
        ${cursor === null ? "" : `and (${ACTIVE_AT}, r.id) < (to_timestamp(:atMs / 1000.0), cast(:roomId as uuid))`}
      order by active_at desc, r.id desc limit :limit`,
    { tenantId, user, limit, ...cursor },
  );
}

/** The rooms of some members; a pair of user and room that is no membership any more is left out. */
export function findMyRooms(
  db: Db,
  pairs: readonly { userId: string; roomId: string }[],
): Promise<MyRoomRow[]> {
  return rowsOf<MyRoomRow>(
    db,
    `${SELECT_MY_ROOM}
       join unnest(cast(:userIds as uuid[]), cast(:roomIds as uuid[])) as p(user_id, room_id)
         on p.user_id = s.user_id and p.room_id = s.room_id
      where s.desired = 'in'`,
    { userIds: pairs.map(({ userId }) => userId), roomIds: pairs.map(({ roomId }) => roomId) },
  );
}

/** Rooms as their member sees them, each with its last message. */
export async function presentMyRooms(db: Db, rows: readonly MyRoomRow[]): Promise<MyRoomResource[]> {
  const lastMessages = await readLastMessages(db, rows);
  return rows.map((row) => ({
    ...presentRoom(row),
    role: row.role,
    unread: row.unread,
    mentions: row.mentions,
    settings: presentSettings(row),
    lastMessage: lastMessages.get(row.id) ?? null,
  }));
}

async function readLastMessages(db: Db, rows: readonly MyRoomRow[]): Promise<Map<string, MessageResource>> {
  const places = new Map(
    rows.flatMap((row) => (row.last_message_number === null ? [] : [[row.id, row.last_message_number]])),
  );
  if (places.size === 0) return new Map();
  const entries = await rowsOf<EntryRow>(
    db,
    // The places come first: Postgres keeps the order of so many joins, and would read every timeline before it looks at them.
    `select ${ENTRY_COLUMNS} from unnest(cast(:roomIds as uuid[]), cast(:numbers as bigint[])) as p(room_id, number)
       join timeline e on e.room_id = p.room_id and e.number = p.number ${ENTRY_JOINS}`,
    { roomIds: [...places.keys()], numbers: [...places.values()] },
  );
  return new Map(entries.map((entry) => [entry.room_id, presentLastMessage(entry)]));
}

/** What a list of rooms shows of a message: the beginning of its text alone. */
function presentLastMessage(entry: EntryRow): MessageResource {
  const message = presentTimelineMessage(entry);
  return { ...message, text: firstCharacters(message.text), html: null, reactions: [] };
}
