import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { requeueMessages } from "../../shared/db/messages/missing-messages.ts";
import { endRereading, findEndedRereading } from "../../shared/db/observers/room-gaps.ts";
import { findRoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import { findRoom } from "../../shared/db/rooms/rooms.ts";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import type { Config } from "../../shared/platform/config.ts";
import { requireTenant } from "./tenants.ts";
import { leaseEnded, withLease } from "./with-lease.ts";

const REQUEUED_AT_ONCE = 500;

/**
 * Sends all messages of a room again that Matrix does not have any more, in their old order, however many they are. Each
 * message that is sent and that the last rereading has not met is looked up first. `since`: those accepted since. Audited.
 */
export async function resendRoom(
  db: Db,
  config: Config,
  { tenant: slug, address, since }: { tenant: string; address: RoomAddress; since: Date | null },
): Promise<{ room: string; resent: number }> {
  const tenant = await requireTenant(db, slug);
  const key = formatRoomKey(address);
  const row = await findRoom(db, tenant.id, address);
  const room = row ? await findRoomSnapshot(db, tenant.id, row.id) : null;
  if (!room) throw new AppError("not_found", `Tenant ${slug} has no room ${key}.`);
  const detail = { since: since?.toISOString() ?? null };
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "room.resend", subject: key, detail });
  if (room.matrix_room_id === null) return { room: key, resent: 0 };
  // Only some commands need the Matrix client, which is slow to load.
  const { openHomeserver } = await import("../matrix/homeserver/open-homeserver.ts");
  const { findCreation, findMissing, unmetMessages } = await import("../outbound/find-missing.ts");
  const homeserver = await openHomeserver(db, config.sealKeys, tenant.homeserver_id);
  const request = await homeserver.as(room.observer_matrix_id);
  const which = {
    rereading: await findEndedRereading(db, room.id),
    sentSince: (await findCreation(request, room.matrix_room_id, null)) ?? new Date(0),
    acceptedSince: since,
    acceptedUntil: null,
  };
  const candidates = unmetMessages(db, room.id, which);
  const { missing } = await findMissing(request, room.matrix_room_id, candidates, { limit: Infinity });
  const resent = await withLease(db, { tenantId: tenant.id, roomId: room.id }, async ({ fence, renew }) => {
    let count = 0;
    for (let start = 0; start < missing.length; start += REQUEUED_AT_ONCE) {
      await renew();
      const part = missing.slice(start, start + REQUEUED_AT_ONCE);
      const appended = await requeueMessages(db, room.id, fence, part);
      if (appended === null) throw leaseEnded();
      count += appended.filter(({ type }) => type === "message.requeued").length;
    }
    return count;
  });
  if (since === null) await endRereading(db, room.id);
  return { room: key, resent };
}
