import { insertAudit } from "../../shared/db/tenants/audit.ts";
import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { listCursors } from "../../shared/db/timeline/consumers.ts";
import { findRoom } from "../../shared/db/rooms/rooms.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import { requireTenant } from "./tenants.ts";

const MEMBERS_SHOWN = 200;
const MESSAGES_SHOWN = 50;

type Row = Record<string, unknown>;

/** Everything the tables say of a room: what is wished, what is applied, what waits. Holds Matrix ids; audited. */
export async function showRoom(
  db: Db,
  { tenant: slug, address }: { tenant: string; address: RoomAddress },
): Promise<Row> {
  const tenant = await requireTenant(db, slug);
  const room = await findRoom(db, tenant.id, address);
  const key = formatRoomKey(address);
  if (!room) throw new AppError("not_found", `Tenant ${slug} has no room ${key}.`);
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "room.show", subject: key });
  const [outbox] = await rowsOf<Row>(db, "select * from room_outbox where tenant_id = ? and room_id = ?", [
    tenant.id,
    room.id,
  ]);
  const [timeline] = await rowsOf<Row>(
    db,
    "select * from room_timeline where tenant_id = ? and room_id = ?",
    [tenant.id, room.id],
  );
  const [observer] = await rowsOf<Row>(
    db,
    `select o.matrix_user_id, o.is_registered, p.lease_until, p.last_success_at
       from observers o left join sync_positions p on p.observer_id = o.id where o.id = ?`,
    [room.observer_id],
  );
  return {
    room: { key, ...room.toJSON() },
    outbox,
    timeline,
    observer,
    consumers: await listCursors(db, tenant.id, room.id),
    members: await listShown(db, tenant.id, room.id),
    open: await rowsOf<Row>(
      db,
      `select id, order_number, status, attempts, error_code, accepted_at from messages
        where tenant_id = ? and room_id = ? and open order by order_number limit ?`,
      [tenant.id, room.id, MESSAGES_SHOWN],
    ),
  };
}

function listShown(db: Db, tenantId: string, roomId: string): Promise<Row[]> {
  return rowsOf<Row>(
    db,
    `select u.external_id as user, u.matrix_user_id, u.status, s.role, s.desired, s.version, s.applied, s.applied_version,
            s.applied_level, s.error
       from memberships s join users u on u.id = s.user_id
      where s.tenant_id = ? and s.room_id = ? order by u.external_id limit ?`,
    [tenantId, roomId, MEMBERS_SHOWN],
  );
}
