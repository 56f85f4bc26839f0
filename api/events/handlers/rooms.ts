import type { RoomAddress } from "../../../shared/contract/names.ts";
import type { DesiredRoom } from "../../../shared/db/rooms/many/desired-room.ts";
import { namedFields } from "../../http/route.ts";
import type { Plan } from "../plan.ts";
import { addMember } from "./members.ts";

type RoomData = { [K in keyof DesiredRoom]?: DesiredRoom[K] | undefined } & { host?: string | undefined };

/** `isNew`: a room that had the slug before is another one. */
export function putRoom(
  plan: Plan,
  address: RoomAddress,
  { host, ...fields }: RoomData,
  options: { isNew: boolean },
): void {
  const room = plan.ensureRoom(address, options);
  Object.assign(room.fields, namedFields(fields));
  if (host !== undefined) addMember(room, host, "owner");
}

export function deleteRoom(plan: Plan, address: RoomAddress): void {
  const room = plan.findRoom(address);
  if (room) plan.endRoom(room);
}

export function renameRoom(plan: Plan, address: RoomAddress, slug: string): void {
  const room = plan.findRoom(address);
  if (room) plan.renameRoom(room, slug);
}
