import type { Db } from "../../shared/db/connection/open.ts";
import { deleteBlocksOf } from "../../shared/db/blocks/blocks.ts";
import { markErasures } from "../../shared/db/users/erasures.ts";
import { writeUsers, type UserChange } from "../../shared/db/users/put-users.ts";
import { enqueueUserEvents } from "../../shared/db/users/user-event-outbox.ts";
import { lockKnownUsers, markUsersDeleted } from "../../shared/db/users/users.ts";
import type { SideEffect } from "../after-commit/side-effects.ts";
import type { Plan } from "./plan.ts";

/** `ids`: the users whom the plan's rooms name, by name; a name that no user has is left out. */
export type AppliedUsers = { ids: Map<string, string>; sideEffects: SideEffect[] };

/**
 * Deletes, makes and changes people as planned, and makes those who are to be members. A deleted user's rooms are left by a job.
 * @throws AppError `unavailable` when the tenant has too many pending users for all of them.
 */
export async function applyUsers(trx: Db, tenantId: string, plan: Plan): Promise<AppliedUsers> {
  const goneIds = await endUsers(trx, tenantId, plan);
  const erasedIds = await eraseUsers(trx, tenantId, plan);
  const changes = changesOf(plan);
  const dueIds = changes.length === 0 ? [] : await writeUsers(trx, tenantId, changes);
  const named = new Set(plan.rooms.flatMap(({ members }) => [...members.keys()]));
  const users = await lockKnownUsers(trx, tenantId, [...named]);
  return {
    ids: new Map([...users].map(([name, { id }]) => [name, id])),
    sideEffects: [
      ...[...new Set([...goneIds, ...erasedIds, ...dueIds])].map((id): SideEffect => ({
        type: "wakeJob",
        name: "provisioning",
        payload: { tenantId, subject: "user", id },
      })),
      ...(goneIds.length > 0 ? [{ type: "publishUserEvents" } as const] : []),
    ],
  };
}

async function endUsers(trx: Db, tenantId: string, plan: Plan): Promise<string[]> {
  const names = plan.users.flatMap(({ name, isEnded }) => (isEnded ? [name] : []));
  if (names.length === 0) return [];
  const ids = await markUsersDeleted(trx, tenantId, names);
  await enqueueUserEvents(
    trx,
    ids.map((userId) => ({ tenantId, kind: "user.gone", userId, roomId: null })),
  );
  await deleteBlocksOf(trx, ids);
  return ids;
}

/** Also those who were deleted before. */
async function eraseUsers(trx: Db, tenantId: string, plan: Plan): Promise<string[]> {
  const names = plan.users.flatMap(({ name, isErased }) => (isErased ? [name] : []));
  return names.length === 0 ? [] : markErasures(trx, tenantId, names);
}

/** Each name once: people whom an event describes, and those who are to be members. */
function changesOf(plan: Plan): UserChange[] {
  const changes = new Map<string, UserChange>();
  for (const { members } of plan.rooms)
    for (const [name, wish] of members) if (wish.is === "in") changes.set(name, { name });
  for (const { name, isMade, fields } of plan.users) if (isMade) changes.set(name, { name, ...fields });
  return [...changes.values()];
}
