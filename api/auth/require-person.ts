import { AppError } from "../../shared/contract/errors.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { findUser, type User } from "../../shared/db/users/users.ts";
import type { UserCaller } from "./authenticate.ts";
import { requireHolder } from "./require-holder.ts";

/** The user who calls. @throws AppError `unauthorized` if the caller does not hold its token, `forbidden` for a locked user. */
export async function requirePerson(db: Db, caller: UserCaller): Promise<User> {
  const user = requireHolder(await findUser(db, caller.tenantId, caller.user), caller);
  if (user.status === "locked") throw new AppError("forbidden", "The user is locked.");
  return user;
}
