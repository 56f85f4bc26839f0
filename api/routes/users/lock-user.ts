import { AppError } from "../../../shared/contract/errors.ts";
import { userResource } from "../../../shared/contract/resources.ts";
import { setUserLocked } from "../../../shared/db/users/lock-user.ts";
import { presentUser } from "../../../shared/db/users/users.ts";
import { pathUser } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import type { SideEffect } from "../../after-commit/side-effects.ts";
import { path, tag, type UserDeps } from "./user.ts";

type LockDeps = Pick<UserDeps, "db" | "afterCommit">;

export function lockUserRoute(deps: LockDeps): Route {
  return lockRoute(deps, {
    method: "put",
    isLocked: true,
    summary: "Lock a user",
    description:
      "The user's sockets are closed with 3503, and the API refuses the user's calls with 403 forbidden until the user is " +
      "unlocked. The user stays in all rooms, and what was accepted before is still sent. A locked user can be changed.",
    answer: "The user is locked",
  });
}

export function unlockUserRoute(deps: LockDeps): Route {
  return lockRoute(deps, {
    method: "delete",
    isLocked: false,
    summary: "Unlock a user",
    description: "The tokens that the user has are valid again, unless they were revoked or have expired.",
    answer: "The user is not locked",
  });
}

type Lock = {
  method: "put" | "delete";
  isLocked: boolean;
  summary: string;
  description: string;
  answer: string;
};

function lockRoute(
  { db, afterCommit }: LockDeps,
  { method, isLocked, summary, description, answer }: Lock,
): Route {
  return serverRoute(
    {
      ...{ method, path: `${path}/lock`, tag, summary, description },
      answers: { 200: { schema: userResource, description: answer } },
      problems: ["not_found"],
    },
    async ({ caller: { tenantId }, params }) => {
      const found = await setUserLocked(db, tenantId, pathUser(params), isLocked);
      if (!found) throw new AppError("not_found", "There is no such user.");
      const { user, isChanged } = found;
      afterCommit.perform(isChanged ? sideEffects(tenantId, user.id, isLocked) : []);
      return { status: 200, body: presentUser(user) };
    },
  );
}

function sideEffects(tenantId: string, id: string, isLocked: boolean): SideEffect[] {
  if (isLocked) return [{ type: "publishUserEvents" }];
  return [{ type: "wakeJob", name: "provisioning", payload: { tenantId, subject: "user", id } }];
}
