import type { Config } from "../../shared/platform/config.ts";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { hasDueWork } from "../../shared/db/rooms/room-diagnosis.ts";
import { findRoom } from "../../shared/db/rooms/rooms.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import type { Difference } from "../reconcile/configuration/difference.ts";
import { requireTenant } from "./tenants.ts";

const REPAIR_LIMIT_MS = 60_000;
const CHECK_EVERY_MS = 500;

type Diagnosis = {
  room: string;
  differences: Difference[];
  /** What a repair has put right: nothing differs any more, and no work is due. */
  repaired?: Difference[];
  /** What differed before a repair that is not complete, and whether its work goes on. */
  notRepaired?: Difference[];
  isWorkDue?: boolean;
};

/**
 * Finds how a room differs from what the tenant wants. With `repair`, makes the room due and waits until the workers have
 * repaired it, a minute at most. The result has Matrix ids; the command is audited.
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
  const { diagnoseRoom, repairRoom } = await import("../reconcile/diagnose-room.ts");
  const { findRoomSnapshot } = await import("../../shared/db/rooms/room-snapshot.ts");
  const homeserver = await openHomeserver(db, config.sealKeys, tenant.homeserver_id);
  const findDifferences = async () => {
    const room = await findRoomSnapshot(db, tenant.id, row.id);
    if (!room) throw new AppError("not_found", `Tenant ${input.tenant} has no room ${key}.`);
    return diagnoseRoom(db, homeserver, room);
  };
  const before = await findDifferences();
  if (!input.repair || before.length === 0) return { room: key, differences: before };
  await repairRoom(db, row.id, before);
  const limitAtMs = performance.now() + REPAIR_LIMIT_MS;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, CHECK_EVERY_MS));
    const differences = await findDifferences();
    const isWorkDue = await hasDueWork(db, row.id);
    const isDone = !differences.some(isRepairable) && !isWorkDue;
    if (isDone && differences.length === 0) return { room: key, differences, repaired: before };
    if (isDone || performance.now() > limitAtMs)
      return { room: key, differences, notRepaired: before, isWorkDue };
  }
}

/** A room stays encrypted for ever, and Matrix cannot name more people with a role. */
function isRepairable({ what }: Difference): boolean {
  return what !== "encrypted" && what !== "too many roles for Matrix";
}
