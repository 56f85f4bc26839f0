import { insertAudit } from "../../shared/db/tenants/audit.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { readRoomTables, type Row } from "../../shared/db/rooms/room-tables.ts";
import { listCursors } from "../../shared/db/timeline/consumers.ts";
import { findRoom } from "../../shared/db/rooms/rooms.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import { requireTenant } from "./tenants.ts";

/** Everything that the tables hold of a room: desired, applied and waiting. It has Matrix ids; the command is audited. */
export async function showRoom(
  db: Db,
  { tenant: slug, address }: { tenant: string; address: RoomAddress },
): Promise<Row> {
  const tenant = await requireTenant(db, slug);
  const room = await findRoom(db, tenant.id, address);
  const key = formatRoomKey(address);
  if (!room) throw new AppError("not_found", `Tenant ${slug} has no room ${key}.`);
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "room.show", subject: key });
  return {
    room: { key, ...room.toJSON() },
    ...(await readRoomTables(db, tenant.id, room)),
    consumers: await listCursors(db, tenant.id, room.id),
  };
}
