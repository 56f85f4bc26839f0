import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import { isLockTimeout } from "../../shared/db/connection/failures.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { transact } from "../../shared/db/connection/transaction.ts";
import { lockNames, recordEvents } from "../../shared/db/events/received-events.ts";
import { findRoomsAt } from "../../shared/db/rooms/many/find-rooms.ts";
import { findFormerRooms } from "../../shared/db/rooms/names/rename-rooms.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { membersChanged, type SideEffect } from "../after-commit/side-effects.ts";
import { applyMembers } from "./apply-members.ts";
import { applyRooms, lockPlanned, type AppliedRoom } from "./apply-rooms.ts";
import { applyUsers } from "./apply-users.ts";
import type { PlacedWish } from "./decide-members.ts";
import { addressesOf, foldEvents } from "./fold.ts";
import type { EventSettings } from "./handlers/define.ts";
import type { KnownRooms } from "./plan.ts";
import type { ReceivedEvent } from "./read-events.ts";

/** Who waits for others' changes of the same rooms for longer gets 503. */
const LOCK_WAIT_MS = 2_000;
const RETRY_AFTER_MS = 1_000;

export type AppliedEvents = { accepted: number; duplicates: number; sideEffects: SideEffect[] };

/**
 * Applies events in one transaction, in a number of statements that does not depend on theirs: all are accepted, or none. Those
 * that came before, by source and id, are duplicates. Rooms and people become what the events, in their order, want together.
 * @throws AppError `unavailable` when others change the same for 2 s, or the tenant has too many pending users or rooms.
 */
export async function applyEvents(
  db: Db,
  tenantId: string,
  events: readonly ReceivedEvent[],
  settings: EventSettings,
): Promise<AppliedEvents> {
  const named = new Map(events.toReversed().map((event) => [nameOf(event), event]));
  const unique = events.filter((event) => named.get(nameOf(event)) === event);
  if (unique.length === 0) return { accepted: 0, duplicates: events.length, sideEffects: [] };
  try {
    return await transact(db, async (trx) => {
      const fresh = await recordFresh(trx, tenantId, unique);
      const duplicates = events.length - fresh.length;
      if (fresh.length === 0) return { accepted: 0, duplicates, sideEffects: [] };
      const sideEffects = await apply(trx, tenantId, fresh, settings);
      return { accepted: fresh.length, duplicates, sideEffects };
    });
  } catch (error) {
    if (isLockTimeout(error))
      throw new AppError("unavailable", "Others change the same rooms at this moment. Try again.", {
        cause: error,
        retryAfterMs: RETRY_AFTER_MS,
      });
    throw error;
  }
}

function nameOf({ source, id }: { source: string; id: string }): string {
  return JSON.stringify([source, id]);
}

/** The events that did not come before. What they name is locked, so that two calls that name the same follow each other. */
async function recordFresh(
  trx: Db,
  tenantId: string,
  events: readonly ReceivedEvent[],
): Promise<ReceivedEvent[]> {
  const rooms = events.flatMap(addressesOf).map(formatRoomKey);
  const users = events.flatMap(({ data }) =>
    "event" in data || "group" in data ? [] : [`user ${data.user}`],
  );
  const names = [...new Set([...rooms, ...users])].map((name) => `${tenantId} ${name}`);
  await lockNames(trx, names, LOCK_WAIT_MS);
  const recorded = await recordEvents(trx, tenantId, events);
  const fresh = new Set(recorded.map(nameOf));
  return events.filter((event) => fresh.has(nameOf(event)));
}

/** Locks outboxes, then timelines, and appends entries last, as every transaction that changes rooms does. */
async function apply(
  trx: Db,
  tenantId: string,
  events: readonly ReceivedEvent[],
  settings: EventSettings,
): Promise<SideEffect[]> {
  const known = await findKnown(trx, tenantId, events.flatMap(addressesOf));
  const plan = foldEvents(events, known, settings);
  const locked = await lockPlanned(trx, tenantId, plan.rooms);
  const users = await applyUsers(trx, tenantId, plan);
  const rooms = await applyRooms(trx, tenantId, plan.rooms, locked);
  const wishes = rooms.rooms.flatMap((room) => wishesOf(room, users.ids));
  const members = await applyMembers(trx, tenantId, wishes, new Set(Object.values(settings.rsvp)));
  await appendEntries(trx, [...rooms.entries, ...members]);
  return [
    ...users.sideEffects,
    ...rooms.sideEffects,
    ...members.flatMap(({ roomId }) => membersChanged({ tenantId, roomId })),
  ];
}

async function findKnown(trx: Db, tenantId: string, addresses: readonly RoomAddress[]): Promise<KnownRooms> {
  if (addresses.length === 0) return { standing: [], former: [] };
  const standing = await findRoomsAt(trx, tenantId, addresses);
  const former = await findFormerRooms(trx, tenantId, addresses);
  return {
    standing,
    former: former.map(({ kind, slug, room_id: id, present_slug: presentSlug }) => ({
      address: { kind, slug },
      room: { id, kind, slug: presentSlug },
    })),
  };
}

/** A person whom nobody has made yet is in no room. */
function wishesOf({ id: roomId, plan }: AppliedRoom, ids: ReadonlyMap<string, string>): PlacedWish[] {
  return [...plan.members].flatMap(([name, wish]) => {
    const userId = ids.get(name);
    return userId === undefined ? [] : [{ roomId, userId, wish }];
  });
}
