import type { Config } from "../../shared/platform/config.ts";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { findRoom } from "../../shared/db/rooms/rooms.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import type { Difference } from "../reconcile/diagnose-room.ts";
import { requireTenant } from "./tenants.ts";

const REPAIR_LIMIT_MS = 60_000;
const LOOK_EVERY_MS = 500;

type Diagnosis = {
  room: string;
  differences: Difference[];
  /** Only of a repair: what was found before it. */
  repaired?: Difference[];
};

/**
 * What a room should be and is not. With `repair` it is made due, and looked at again until the workers have put it
 * right, a minute at most. Holds Matrix ids; audited.
 */
export async function diagnose(
  db: Db,
  config: Config,
  input: { tenant: string; address: RoomAddress; repair: boolean },
): Promise<Diagnosis> {
  const tenant = await requireTenant(db, input.tenant);
  const key = formatRoomKey(input.address);
  const row = await findRoom(db, tenant.id, input.address);
  if (!row) throw new AppError("not_found", `Tenant ${input.tenant} has no room ${key}.`);
  const action = input.repair ? "room.repair" : "room.diagnose";
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action, subject: key });
  // Only this command needs the Matrix client, which is slow to load.
  const { openHomeserver } = await import("../matrix/homeserver/open-homeserver.ts");
  const { diagnoseRoom, makeRepairDue } = await import("../reconcile/diagnose-room.ts");
  const { findRoomSnapshot } = await import("../../shared/db/rooms/room-snapshot.ts");
  const homeserver = await openHomeserver(db, config.sealKeys, tenant.homeserver_id);
  const look = async () => {
    const facts = await findRoomSnapshot(db, tenant.id, row.id);
    if (!facts) throw new AppError("not_found", `Tenant ${input.tenant} has no room ${key}.`);
    return { facts, differences: await diagnoseRoom(db, homeserver, facts) };
  };
  const before = await look();
  if (!input.repair || before.differences.length === 0) return { room: key, differences: before.differences };
  await makeRepairDue(db, before.facts, before.differences);
  const limitAtMs = performance.now() + REPAIR_LIMIT_MS;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    const { differences } = await look();
    const isRight = !differences.some(isMendable) && !(await isDue(db, row.id));
    if (isRight || performance.now() > limitAtMs) {
      return { room: key, differences, repaired: before.differences };
    }
  }
}

/** An encrypted room stays one. */
function isMendable({ what }: Difference): boolean {
  return what !== "encrypted";
}

async function isDue(db: Db, roomId: string): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `select 1 as due from rooms r join room_timeline t on t.room_id = r.id
      where r.id = ? and (r.next_attempt_at is not null or r.members_next_attempt_at is not null
         or t.gap_next_attempt_at is not null)`,
    [roomId],
  );
  return rows.length > 0;
}
