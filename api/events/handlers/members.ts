import type { RoomAddress } from "../../../shared/contract/names.ts";
import type { Role } from "../../../shared/contract/roles.ts";
import type { Plan, RoomPlan } from "../plan.ts";
import type { EventSettings } from "./define.ts";

/** Without a role, what an earlier event of the call wants stays; who was to be out begins again as a member. */
export function addMember(room: RoomPlan, user: string, role: Role | undefined): void {
  const before = room.members.get(user);
  if (role !== undefined) room.members.set(user, { is: "in", role, isRsvp: false });
  else if (before?.is === "out") room.members.set(user, { is: "in", role: "member", isRsvp: false });
  else if (before === undefined) room.members.set(user, { is: "in", role: null, isRsvp: false });
}

export function putMember(plan: Plan, address: RoomAddress, user: string, role: Role | undefined): void {
  addMember(plan.ensureRoom(address), user, role);
}

export function removeMember(plan: Plan, address: RoomAddress, user: string): void {
  plan.findRoom(address)?.members.set(user, { is: "out" });
}

/** The status decides whether the person is in; a role in the event stands above the mapped one. */
export function updateAttendee(
  plan: Plan,
  address: RoomAddress,
  { user, status, role }: { user: string; status: string; role?: Role | undefined },
  { rsvp }: EventSettings,
): void {
  const mapped = rsvp[status.toLowerCase()] ?? "out";
  if (mapped === "out") {
    removeMember(plan, address, user);
    return;
  }
  const { members } = plan.ensureRoom(address);
  const before = members.get(user);
  if (role === undefined && before?.is === "in" && before.role !== null && !before.isRsvp) return;
  members.set(user, { is: "in", role: role ?? mapped, isRsvp: role === undefined });
}
