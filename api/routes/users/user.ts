import type { Db } from "../../../shared/db/connection/open.ts";
import { findUser, presentUser, type User } from "../../../shared/db/users/users.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { userResource, type UserResource } from "../../../shared/contract/resources.ts";
import type { AfterCommit } from "../../after-commit/after-commit.ts";
import type { KeyCaller } from "../../auth/authenticate.ts";
import { avatarUrl, displayName } from "../../http/fields.ts";
import { answerResource, type Answer, type Call } from "../../http/route.ts";
import type { KeyedMutex } from "../../../shared/platform/concurrency/keyed-mutex.ts";

export const tag = "users";
export const listPath = "/v1/users";
export const path = `${listPath}/{user}`;

export type UserDeps = { db: Db; afterCommit: AfterCommit; mutex: KeyedMutex };
type UserCall = Pick<Call<KeyCaller, unknown, unknown>, "caller" | "settle">;

export const userFields = { displayName: displayName.nullable(), avatar: avatarUrl.nullable() };

/** Answers of the calls that make or change a user. */
export const changeAnswers = {
  200: { schema: userResource, description: "Matrix has the user as requested" },
  202: {
    schema: userResource,
    description: "Accepted; the account on Matrix is still being made or changed",
  },
};

/** Wakes the job of a user who was made or changed, and answers with the user after the wait that the caller prefers. */
export async function settleUser(
  { db, afterCommit }: UserDeps,
  { caller: { tenantId }, settle }: UserCall,
  user: User,
): Promise<Answer> {
  const name = user.external_id;
  const first = presentUser(user);
  const payload = { tenantId, subject: "user" as const, id: user.id };
  if (first.status === "pending") afterCommit.perform([{ type: "wakeJob", name: "provisioning", payload }]);
  const settled = await settle(first, () => readUser(db, tenantId, name), isUserFinal);
  return answerResource(settled, { isFinal: isUserFinal(settled), location: userLocation(name) });
}

/** @throws AppError `not_found`. */
export async function readUser(db: Db, tenantId: string, name: string): Promise<UserResource> {
  const user = await findUser(db, tenantId, name);
  if (!user) throw new AppError("not_found", "There is no such user.");
  return presentUser(user);
}

export function isUserFinal({ status }: UserResource): boolean {
  return status !== "pending";
}

function userLocation(name: string): string {
  return `/v1/users/${encodeURIComponent(name)}`;
}
