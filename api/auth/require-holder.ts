import { isHeldBy, type TokenBounds } from "../../shared/db/users/user-tokens.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { UserCaller } from "./authenticate.ts";

/**
 * The row of a caller's user, read for the request. A verified token is not enough: its user may be deleted, the name may be
 * another's since, and the token may be revoked. @throws AppError `unauthorized`.
 */
export function requireHolder<User extends TokenBounds>(
  user: User | undefined,
  { stamp }: Pick<UserCaller, "stamp">,
): User {
  if (!user || !isHeldBy(user, stamp)) throw notHeldError();
  return user;
}

export function notHeldError(): AppError {
  return new AppError(
    "unauthorized",
    "The token is of a user who does not exist any more, or it was revoked.",
  );
}
