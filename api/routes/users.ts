import { z } from "zod";
import type { Db } from "../../shared/db/connection/open.ts";
import { findUser, presentUser, putUser } from "../../shared/db/users/users.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { userResource, type UserResource } from "../../shared/contract/resources.ts";
import { deleteUser } from "../mutations/delete-user.ts";
import type { AfterCommit } from "../after-commit/after-commit.ts";
import type { KeyedMutex } from "../../shared/platform/concurrency/keyed-mutex.ts";
import { avatarUrl, displayName, pathNewUser, pathUser } from "../http/fields.ts";
import { answerResource, serverRoute, type Route } from "../http/route.ts";

const userBody = z
  .strictObject({
    displayName: displayName.nullable().default(null),
    avatar: avatarUrl.nullable().default(null),
  })
  .meta({ id: "UserWish" });

const path = "/v1/users/{user}";
const tag = "users";

type Deps = { db: Db; afterCommit: AfterCommit; mutex: KeyedMutex };

export function userRoutes(deps: Deps): Route[] {
  return [putRoute(deps), getRoute(deps), deleteRoute(deps)];
}

function putRoute({ db, afterCommit, mutex }: Deps): Route {
  return serverRoute(
    {
      method: "put",
      path,
      tag,
      summary: "Make or change a user",
      description: "An absent field becomes null. The account on Matrix follows.",
      body: { schema: userBody, isOptional: true, example: { displayName: "Ada Lovelace", avatar: null } },
      answers: {
        200: { schema: userResource, description: "Matrix has the user as requested" },
        202: {
          schema: userResource,
          description: "Accepted; the account on Matrix is still being made or changed",
        },
      },
      problems: ["invalid"],
      headers: ["Prefer"],
    },
    async ({ caller: { tenantId }, params, body, settle }) => {
      const name = pathNewUser(params);
      const user = await mutex(`${tenantId} ${name}`, () => putUser(db, tenantId, name, body));
      const first = presentUser(user);
      const payload = { tenantId, subject: "user" as const, id: user.id };
      if (first.status === "pending")
        afterCommit.perform([{ type: "wakeJob", name: "provisioning", payload }]);
      const settled = await settle(first, () => readUser(db, tenantId, name), isUserFinal);
      return answerResource(settled, { isFinal: isUserFinal(settled), location: userLocation(name) });
    },
  );
}

function getRoute({ db }: Deps): Route {
  return serverRoute(
    {
      method: "get",
      path,
      tag,
      summary: "Read a user",
      answers: { 200: { schema: userResource, description: "The user" } },
      problems: ["not_found"],
    },
    async ({ caller, params }) => ({
      status: 200,
      body: await readUser(db, caller.tenantId, pathUser(params)),
    }),
  );
}

function deleteRoute({ db, afterCommit }: Deps): Route {
  return serverRoute(
    {
      method: "delete",
      path,
      tag,
      summary: "Delete a user",
      description:
        "The user leaves all rooms, and queued messages are dead. Returns the user as it was, or null if there was none.",
      answers: { 200: { schema: userResource.nullable(), description: "The user is deleted" } },
      problems: ["not_found"],
    },
    async ({ caller: { tenantId }, params }) => {
      const name = pathUser(params);
      const user = await findUser(db, tenantId, name);
      const sideEffects = await deleteUser(db, tenantId, name);
      if (sideEffects) afterCommit.perform(sideEffects);
      return { status: 200, body: user ? presentUser(user) : null };
    },
  );
}

async function readUser(db: Db, tenantId: string, name: string): Promise<UserResource> {
  const user = await findUser(db, tenantId, name);
  if (!user) throw new AppError("not_found", "There is no such user.");
  return presentUser(user);
}

function isUserFinal({ status }: UserResource): boolean {
  return status !== "pending";
}

function userLocation(name: string): string {
  return `/v1/users/${encodeURIComponent(name)}`;
}
