import { formatRoomKey } from "../../shared/contract/names.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { StaleView } from "../../shared/db/connection/transaction.ts";
import { changeRooms } from "../../shared/db/rooms/many/change-rooms.ts";
import { findRoomsOf } from "../../shared/db/rooms/many/find-rooms.ts";
import { insertRooms } from "../../shared/db/rooms/many/insert-rooms.ts";
import { renameRooms } from "../../shared/db/rooms/names/rename-rooms.ts";
import {
  differingFields,
  fieldsOf,
  lockOutboxes,
  lockTimelines,
  markRoomsDeleted,
  type Room,
} from "../../shared/db/rooms/rooms.ts";
import type { DesiredRoom } from "../../shared/db/rooms/many/desired-room.ts";
import type { RoomEntries } from "../../shared/timeline/append.ts";
import { roomChangedEntry } from "../../shared/timeline/own-entries.ts";
import { roomChanged, type SideEffect } from "../after-commit/side-effects.ts";
import { orderRenames } from "./order-renames.ts";
import type { RoomPlan } from "./plan.ts";

/** A room that stands after the events. */
export type AppliedRoom = { id: string; plan: RoomPlan };

type Applied = { rooms: AppliedRoom[]; entries: RoomEntries[]; sideEffects: SideEffect[] };

/**
 * Locks the rooms that a plan changes: outboxes first, then timelines. Returns them by id.
 * @throws StaleView when one was deleted or renamed since the plan was made.
 */
export async function lockPlanned(
  trx: Db,
  tenantId: string,
  plans: readonly RoomPlan[],
): Promise<Map<string, Room>> {
  const touched = plans.flatMap(({ existing, ...plan }) => (existing && isTouched(plan) ? [existing] : []));
  if (touched.length === 0) return new Map();
  const ids = touched.map(({ id }) => id);
  await lockOutboxes(trx, tenantId, ids);
  await lockTimelines(trx, tenantId, ids);
  const locked = new Map((await findRoomsOf(trx, tenantId, ids)).map((room) => [room.id, room]));
  if (touched.some(({ id, slug }) => locked.get(id)?.slug !== slug))
    throw new StaleView("a room was deleted or renamed while events were applied");
  return locked;
}

function isTouched({ isEnded, fields, members, slug, address }: Omit<RoomPlan, "existing">): boolean {
  return isEnded || members.size > 0 || slug !== address.slug || Object.keys(fields).length > 0;
}

/** Deletes, makes, renames and changes rooms as planned. What a deletion leaves behind, a job ends. */
export async function applyRooms(
  trx: Db,
  tenantId: string,
  plans: readonly RoomPlan[],
  locked: ReadonlyMap<string, Room>,
): Promise<Applied> {
  const ended = plans.flatMap(({ existing, isEnded }) => (existing && isEnded ? [existing.id] : []));
  if (ended.length > 0) await markRoomsDeleted(trx, tenantId, ended);
  const { made, renamed } = await makeAndRename(trx, tenantId, plans);
  const standing = plans.flatMap((plan): AppliedRoom[] => {
    if (plan.existing) return plan.isEnded ? [] : [{ id: plan.existing.id, plan }];
    const id = made.get(plan);
    return id === undefined ? [] : [{ id, plan }];
  });
  const changes = await changePlanned(trx, standing, locked);
  const roomIds = [...ended, ...made.values(), ...renamed, ...changes.map(({ roomId }) => roomId)];
  return {
    rooms: standing,
    entries: changes,
    sideEffects: [
      ...roomIds.flatMap((roomId) => roomChanged({ tenantId, roomId })),
      ...(renamed.length > 0 ? [{ type: "publishUserEvents" } as const] : []),
    ],
  };
}

type Made = { made: Map<RoomPlan, string>; renamed: string[] };

/** A room that is made where another one stands until it is renamed is made after that; it is not renamed itself. */
async function makeAndRename(trx: Db, tenantId: string, plans: readonly RoomPlan[]): Promise<Made> {
  const taken = new Set(
    plans.flatMap(({ existing, isEnded }) => (existing && !isEnded ? [formatRoomKey(existing)] : [])),
  );
  const first: RoomPlan[] = [];
  const later: RoomPlan[] = [];
  for (const plan of plans.filter(({ existing }) => existing === null)) {
    const isLater = taken.has(formatRoomKey(plan.address));
    if (isLater) later.push(plan);
    else first.push(plan);
    taken.add(formatRoomKey(plan.address));
  }
  const made = await makeRooms(trx, tenantId, first, ({ address }) => address.slug);
  const renamed = await renamePlanned(trx, tenantId, plans, made);
  const madeLater = await makeRooms(trx, tenantId, later, ({ slug }) => slug);
  return { made: new Map([...made, ...madeLater]), renamed };
}

async function renamePlanned(
  trx: Db,
  tenantId: string,
  plans: readonly RoomPlan[],
  made: ReadonlyMap<RoomPlan, string>,
): Promise<string[]> {
  const standing = plans.flatMap((plan) => {
    const roomId = plan.isEnded ? undefined : (plan.existing?.id ?? made.get(plan));
    return roomId === undefined ? [] : [{ roomId, ...plan.address, to: plan.slug }];
  });
  const renamed: string[] = [];
  for (const round of orderRenames(standing)) renamed.push(...(await renameRooms(trx, tenantId, round)));
  return [...new Set(renamed)];
}

/** @throws StaleView when another transaction made one of them. */
async function makeRooms(
  trx: Db,
  tenantId: string,
  wanted: readonly RoomPlan[],
  slugOf: (plan: RoomPlan) => string,
): Promise<Map<RoomPlan, string>> {
  if (wanted.length === 0) return new Map();
  const rooms = wanted.map((plan) => {
    const address = { kind: plan.address.kind, slug: slugOf(plan) };
    return { plan, address, desired: { ...initial(plan.slug), ...plan.fields } };
  });
  const ids = new Map((await insertRooms(trx, tenantId, rooms)).map((row) => [formatRoomKey(row), row.id]));
  if (ids.size < wanted.length) throw new StaleView("a room was made while events were applied");
  return new Map(
    rooms.flatMap(({ plan, address }) => {
      const id = ids.get(formatRoomKey(address));
      return id === undefined ? [] : [[plan, id] as const];
    }),
  );
}

/** A room of which nothing is known but its slug. */
function initial(slug: string): DesiredRoom {
  return {
    ...{ name: slug, topic: null, avatar: null, visibility: "private" },
    ...{ join: "invite", posting: "everyone", slowModeS: 0 },
  } as const;
}

/** Returns the entries of the rooms that get other fields. */
async function changePlanned(
  trx: Db,
  rooms: readonly AppliedRoom[],
  locked: ReadonlyMap<string, Room>,
): Promise<RoomEntries[]> {
  const changes = rooms.flatMap(({ id, plan }) => {
    const room = plan.existing && locked.get(id);
    const changed = room ? differingFields(room, plan.fields) : {};
    if (!room || Object.keys(changed).length === 0) return [];
    return [{ id, fields: { ...fieldsOf(room), ...changed }, changed }];
  });
  await changeRooms(trx, changes);
  return changes.map(({ id, changed }) => ({ roomId: id, entries: [roomChangedEntry(changed)] }));
}
