import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import {
  findReplayable,
  listReplayable,
  replayMessages,
} from "../../shared/db/messages/dead/replay-messages.ts";
import { findRoom } from "../../shared/db/rooms/rooms.ts";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import { requireTenant } from "./tenants.ts";
import { leaseEnded, withLease } from "./with-lease.ts";

const REPLAYED_AT_ONCE = 200;

/** Sends one dead message again. Audited. */
export async function replayMessage(db: Db, id: string): Promise<{ message: string; replayed: number }> {
  const found = await findReplayable(db, id);
  if (found === null)
    throw new AppError(
      "not_found",
      `No dead message ${id} may be replayed: one of a removed sender or a deleted room may not.`,
    );
  const { tenant_id: tenantId, room_id: roomId } = found;
  await insertAudit(db, { tenantId, actor: "cli", action: "message.replay", subject: id });
  const replayed = await withLease(db, { tenantId, roomId }, async ({ fence }) => {
    const appended = await replayMessages(db, roomId, fence, [id]);
    if (appended === null) throw leaseEnded();
    return countRequeued(appended);
  });
  return { message: id, replayed };
}

/** Sends the dead messages of a room again, in their old order; `code`: those of one cause. Audited. */
export async function replayRoom(
  db: Db,
  { tenant: slug, address, code }: { tenant: string; address: RoomAddress; code: string | null },
): Promise<{ room: string; replayed: number }> {
  const tenant = await requireTenant(db, slug);
  const key = formatRoomKey(address);
  const room = await findRoom(db, tenant.id, address);
  if (!room) throw new AppError("not_found", `Tenant ${slug} has no room ${key}.`);
  const detail = { code };
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "room.replay", subject: key, detail });
  const replayed = await withLease(db, { tenantId: tenant.id, roomId: room.id }, async ({ fence, renew }) => {
    let count = 0;
    // Those that died without a number get new order numbers, so all are listed before the first is replayed.
    const ids: string[] = [];
    for (let afterOrder = 0; ;) {
      const part = await listReplayable(db, room.id, { code, afterOrder, limit: REPLAYED_AT_ONCE });
      ids.push(...part.map(({ id }) => id));
      const last = part.at(-1);
      if (!last || part.length < REPLAYED_AT_ONCE) break;
      afterOrder = last.order_number;
    }
    for (let start = 0; start < ids.length; start += REPLAYED_AT_ONCE) {
      await renew();
      const part = ids.slice(start, start + REPLAYED_AT_ONCE);
      const appended = await replayMessages(db, room.id, fence, part);
      if (appended === null) throw leaseEnded();
      count += countRequeued(appended);
    }
    return count;
  });
  return { room: key, replayed };
}

function countRequeued(appended: readonly { type: string }[]): number {
  return appended.filter(({ type }) => type === "message.requeued").length;
}
