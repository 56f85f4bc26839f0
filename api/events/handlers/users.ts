import type { DesiredUser } from "../../../shared/db/users/users.ts";
import { namedFields } from "../../http/route.ts";
import type { Plan } from "../plan.ts";

type UserData = { [K in keyof DesiredUser]?: DesiredUser[K] | undefined };

export function updateUser(plan: Plan, name: string, fields: UserData): void {
  const user = plan.user(name);
  user.isMade = true;
  Object.assign(user.fields, namedFields(fields));
}

/** What earlier events of the call want of the person ends with the person. */
export function deleteUser(plan: Plan, name: string, isErased: boolean): void {
  const user = plan.user(name);
  Object.assign(user, { isEnded: true, isErased: user.isErased || isErased, isMade: false, fields: {} });
  for (const room of plan.rooms) room.members.delete(name);
}
