import { AppError } from "../../shared/contract/errors.ts";
import { formatDirectSlug } from "../../shared/contract/names.ts";
import {
  applyBlocks,
  countBlocks,
  deleteBlock,
  insertBlock,
  lockPair,
} from "../../shared/db/blocks/blocks.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { StaleView, transact } from "../../shared/db/connection/transaction.ts";
import { findRoom, lockRoom } from "../../shared/db/rooms/rooms.ts";
import type { SideEffect } from "../after-commit/side-effects.ts";
import { notHeldError } from "../auth/require-holder.ts";
import type { Person } from "./join-room.ts";

/** People whom one person may block. */
const BLOCKS_AT_MOST = 1_000;

/**
 * Blocks a person, or ends that; the direct room of the two follows in the same transaction. Repeated, it changes nothing.
 * @throws AppError `conflict` for too many blocks, `not_found` when the other was deleted meanwhile, `unauthorized` when the person was.
 */
export function setBlock(
  db: Db,
  tenantId: string,
  { person, other, isBlocked }: { person: Person; other: Person; isBlocked: boolean },
): Promise<SideEffect[]> {
  const address = {
    kind: "direct" as const,
    slug: formatDirectSlug(person.external_id, other.external_id),
  };
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    const living = await lockPair(trx, tenantId, [person.id, other.id]);
    if (!living.has(person.id)) throw notHeldError();
    if (!living.has(other.id)) throw new AppError("not_found", "There is no such user.");
    if (isBlocked) {
      const isNew = await insertBlock(trx, person.id, other.id);
      if (isNew && (await countBlocks(trx, person.id)) > BLOCKS_AT_MOST)
        throw new AppError("conflict", `A person blocks at most ${BLOCKS_AT_MOST} others.`);
    } else await deleteBlock(trx, person.id, other.id);
    // Nobody makes the room from here on: both people are locked.
    const present = await findRoom(trx, tenantId, address);
    if (present && present.id !== room?.id) throw new StaleView("the direct room was made meanwhile");
    if (!room || !(await applyBlocks(trx, tenantId, room.id))) return [];
    return [{ type: "wakeJob", name: "membership", payload: { tenantId, roomId: room.id } }];
  });
}
