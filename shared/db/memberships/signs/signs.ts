import type { RoomAddress } from "../../../contract/names.ts";
import { standingsAllowed, type Standing } from "../../../contract/permissions.ts";
import { rowsOf, type Db } from "../../connection/open.ts";
import type { TokenBounds } from "../../users/user-tokens.ts";
import { STANDING } from "../standing.ts";
import type { User } from "../../users/users.ts";

/** A user who calls, with what others see of the user; `membership` is null for one who is not in the room. */
export type Signer = TokenBounds & {
  status: User["status"];
  external_id: string;
  display_name: string | null;
  avatar: string | null;
  membership: (RoomAddress & { room_id: string; standing: Standing; member_count: number }) | null;
};

/** The existing user of a name, and its place in a room. Undefined when there is no such user. */
export async function findSigner(
  db: Db,
  tenantId: string,
  room: RoomAddress,
  user: string,
): Promise<Signer | undefined> {
  const [row] = await rowsOf<Signer>(
    db,
    `select u.id, u.status, u.tokens_valid_from, u.product_tokens_valid_from, u.external_id, u.display_name, u.avatar,
            case when s.room_id is not null then jsonb_build_object(
              'kind', r.kind, 'slug', r.slug, 'room_id', r.id, 'standing', ${STANDING}, 'member_count', r.member_count) end as membership
       from users u
       left join rooms r on r.tenant_id = u.tenant_id and r.kind = ? and r.slug = ? and r.deleted_at is null
       left join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in'
      where u.tenant_id = ? and u.external_id = ? and u.deleted_at is null`,
    [room.kind, room.slug, tenantId, user],
  );
  return row;
}

/** Where a sign goes on Matrix. `event_id`: of the last entry up to the number that has one; null where there is none. */
export type SignTarget = {
  room_id: string;
  user_id: string;
  tenant_id: string;
  homeserver_id: string;
  matrix_room_id: string;
  matrix_user_id: string;
  event_id: string | null;
};

/** Entries before the one that was read, among which an event is looked for. */
const LOOK_BACK = 50;

/** The places on Matrix of those people who are joined there: nobody is joined for a sign. One query. */
export function findSignTargets(
  db: Db,
  signs: readonly { roomId: string; userId: string; number: number | null }[],
): Promise<SignTarget[]> {
  return rowsOf<SignTarget>(
    db,
    `select s.room_id, s.user_id, r.tenant_id, t.homeserver_id, r.matrix_room_id, u.matrix_user_id, e.event_id
       from jsonb_to_recordset(cast(:signs as jsonb)) as g("roomId" uuid, "userId" uuid, number bigint)
       join memberships s on s.room_id = g."roomId" and s.user_id = g."userId" and s.desired = 'in' and s.applied = 'in'
       join rooms r on r.id = s.room_id and r.deleted_at is null and r.matrix_room_id is not null
       join tenants t on t.id = r.tenant_id
       join users u on u.id = s.user_id and u.deleted_at is null
       left join lateral (
         select x.event_id from (
           select coalesce(e.event_id, m.event_id) as event_id, e.number
             from timeline e left join messages m on m.id = e.entry_id
            where e.room_id = g."roomId" and e.number <= g.number
            order by e.number desc limit ${LOOK_BACK}) x
          where x.event_id is not null order by x.number desc limit 1
       ) e on g.number is not null`,
    { signs: JSON.stringify(signs) },
  );
}

/** Who types in a room on Matrix. `id` is null for a person whom the tenant does not know. */
export type TypistsOfRoom = RoomAddress & {
  room_id: string;
  matrix_room_id: string;
  member_count: number;
  typists: {
    matrix_user_id: string;
    id: string | null;
    external_id: string | null;
    display_name: string | null;
    avatar: string | null;
  }[];
};

/** The rooms of an observer among those named, with the people in their order; without its users who may not write. One query. */
export function findTypists(
  db: Db,
  { observerId, tenantId }: { observerId: string; tenantId: string },
  lists: readonly { matrixRoomId: string; matrixUserIds: readonly string[] }[],
): Promise<TypistsOfRoom[]> {
  return rowsOf<TypistsOfRoom>(
    db,
    `select r.id as room_id, r.kind, r.slug, r.matrix_room_id, r.member_count,
            (select coalesce(jsonb_agg(jsonb_build_object('matrix_user_id', n.id, 'id', u.id, 'external_id', u.external_id,
                      'display_name', u.display_name, 'avatar', u.avatar) order by n.place), '[]')
               from jsonb_array_elements_text(g."matrixUserIds") with ordinality as n(id, place)
               left join users u on u.tenant_id = :tenantId and u.matrix_user_id = n.id
               left join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in' and ${STANDING} = any(:allowed)
              where u.id is null or u.deleted_at is null and s.user_id is not null) as typists
       from jsonb_to_recordset(cast(:lists as jsonb)) as g("matrixRoomId" text, "matrixUserIds" jsonb)
       join rooms r on r.observer_id = :observerId and r.matrix_room_id = g."matrixRoomId" and r.deleted_at is null`,
    { observerId, tenantId, lists: JSON.stringify(lists), allowed: standingsAllowed("type") },
  );
}
