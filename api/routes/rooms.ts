import { z } from "zod";
import type { Db } from "../../shared/db/connection/open.ts";
import { findRoomWithPosition, presentRoom, type DesiredRoom } from "../../shared/db/rooms/rooms.ts";
import { AppError } from "../../shared/contract/errors.ts";
import {
  formatDirectSlug,
  parseDirectSlug,
  userName,
  type RoomAddress,
} from "../../shared/contract/names.ts";
import { roomResource, type RoomResource } from "../../shared/contract/resources.ts";
import { deleteRoom } from "../mutations/delete-room.ts";
import { patchRoom, putRoom, type RoomPut } from "../mutations/put-room.ts";
import type { DesiredMember } from "../mutations/set-members.ts";
import type { AfterCommit } from "../after-commit/after-commit.ts";
import { roomMutexKey, type KeyedMutex } from "../../shared/platform/concurrency/keyed-mutex.ts";
import {
  avatarUrl,
  desiredMembers,
  pathNewRoom,
  pathRoom,
  roomName,
  roomTopic,
  visibility,
} from "../http/fields.ts";
import { answerResource, serverRoute, type Answer, type Call, type Route } from "../http/route.ts";
import type { KeyCaller } from "../auth/authenticate.ts";

const roomBody = z
  .strictObject({
    name: roomName.optional().meta({ description: "Needed for an event and a group" }),
    topic: roomTopic.nullish(),
    avatar: avatarUrl.nullish(),
    visibility: visibility.optional(),
    members: desiredMembers.default([]),
  })
  .meta({ id: "RoomWish" });

const directBody = z
  .strictObject({
    users: z.tuple([userName, userName]).refine(([a, b]) => a !== b, "must be two different users"),
  })
  .meta({ id: "DirectRoomWish" });

const roomPatch = z
  .strictObject({
    name: roomName.optional(),
    topic: roomTopic.nullish(),
    avatar: avatarUrl.nullish(),
    visibility: visibility.optional(),
  })
  .meta({ id: "RoomPatch" });

const tag = "rooms";
const path = "/v1/rooms/{kind}/{slug}";
const putAnswers = {
  200: { schema: roomResource, description: "The room is as wished" },
  202: { schema: roomResource, description: "The room on Matrix is still being made or changed" },
};

type Deps = { db: Db; afterCommit: AfterCommit; mutex: KeyedMutex };
type ServerCall = Pick<Call<KeyCaller, unknown, unknown>, "caller" | "settle">;

export function roomRoutes(deps: Deps): Route[] {
  return [directRoute(deps), putRoute(deps), getRoute(deps), patchRoute(deps), deleteRoute(deps)];
}

function directRoute(deps: Deps): Route {
  return serverRoute(
    {
      method: "put",
      path: "/v1/rooms/direct",
      tag,
      summary: "Make the direct room of two users",
      description: "The same room whoever of the two is named first.",
      body: { schema: directBody, example: { users: ["ada", "bob"] } },
      answers: putAnswers,
      problems: ["invalid"],
      headers: ["Prefer"],
    },
    ({ caller, settle, body: { users } }) => {
      const address = { kind: "direct" as const, slug: formatDirectSlug(...users) };
      return put(deps, { caller, settle }, address, describePut(address, { members: [] }));
    },
  );
}

function putRoute(deps: Deps): Route {
  return serverRoute(
    {
      method: "put",
      path,
      tag,
      summary: "Make or change a room",
      description:
        "An absent topic or avatar is null, an absent visibility private. Members are added and changed, none removed.",
      body: {
        schema: roomBody,
        isOptional: true,
        example: { name: "Py meetup", members: [{ user: "ada", role: "owner" }] },
      },
      answers: putAnswers,
      problems: ["not_found", "conflict", "too_many_roles", "invalid"],
      headers: ["Prefer"],
    },
    ({ caller, settle, params, body }) => {
      const address = pathNewRoom(params);
      return put(deps, { caller, settle }, address, describePut(address, body));
    },
  );
}

function getRoute({ db }: Deps): Route {
  return serverRoute(
    {
      method: "get",
      path,
      tag,
      summary: "Read a room",
      answers: { 200: { schema: roomResource, description: "The room" } },
      problems: ["not_found"],
    },
    async ({ caller, params }) => ({
      status: 200,
      body: await readRoom(db, caller.tenantId, pathRoom(params)),
    }),
  );
}

function patchRoute(deps: Deps): Route {
  return serverRoute(
    {
      method: "patch",
      path,
      tag,
      summary: "Change some fields of a room",
      description: "A merge patch (RFC 7396): absent fields stay, null clears.",
      body: {
        schema: roomPatch,
        types: ["application/merge-patch+json", "application/json"],
        example: { topic: "Bring a laptop" },
      },
      answers: putAnswers,
      problems: ["not_found", "invalid"],
      headers: ["Prefer"],
    },
    async ({ caller, settle, params, body }) => {
      const address = pathRoom(params);
      const { tenantId } = caller;
      const fields = withoutUndefined(body);
      requirePrivateDirect(address, fields);
      deps.afterCommit.perform(
        await deps.mutex(roomMutexKey(tenantId, address), () =>
          patchRoom(deps.db, tenantId, address, fields),
        ),
      );
      return settleRoom(deps.db, { caller, settle }, address);
    },
  );
}

function deleteRoute({ db, afterCommit, mutex }: Deps): Route {
  return serverRoute(
    {
      method: "delete",
      path,
      tag,
      summary: "Delete a room",
      description:
        "Everybody is out, what was queued is dead. Answers the room as last known, null when there was none.",
      answers: { 200: { schema: roomResource.nullable(), description: "The room is gone" } },
      problems: ["not_found"],
    },
    async ({ caller: { tenantId }, params }) => {
      const address = pathRoom(params);
      const room = await findRoomWithPosition(db, tenantId, address);
      const sideEffects = await mutex(roomMutexKey(tenantId, address), () =>
        deleteRoom(db, tenantId, address),
      );
      if (sideEffects) afterCommit.perform(sideEffects);
      return { status: 200, body: room ? presentRoom(room) : null };
    },
  );
}

async function put(deps: Deps, call: ServerCall, address: RoomAddress, wish: RoomPut): Promise<Answer> {
  const { tenantId } = call.caller;
  deps.afterCommit.perform(
    await deps.mutex(roomMutexKey(tenantId, address), () => putRoom(deps.db, tenantId, address, wish)),
  );
  return settleRoom(deps.db, call, address);
}

async function settleRoom(db: Db, { caller, settle }: ServerCall, address: RoomAddress): Promise<Answer> {
  const read = () => readRoom(db, caller.tenantId, address);
  const room = await settle(await read(), read, isRoomFinal);
  return answerResource(room, { isFinal: isRoomFinal(room), location: roomLocation(address) });
}

async function readRoom(db: Db, tenantId: string, address: RoomAddress): Promise<RoomResource> {
  const room = await findRoomWithPosition(db, tenantId, address);
  if (!room) throw new AppError("not_found", "There is no such room.");
  return presentRoom(room);
}

/** A direct room is named after its two people and keeps what it has; any other room is as the body says, whole. */
function describePut(address: RoomAddress, body: z.infer<typeof roomBody>): RoomPut {
  if (address.kind === "direct") return describeDirectPut(address, body);
  const { name, topic = null, avatar = null, visibility = "private" } = body;
  if (name === undefined) throw fieldError("name", "is needed");
  const wish: DesiredRoom = { name, topic, avatar, visibility };
  return { initial: wish, fields: wish, members: body.members };
}

function describeDirectPut(address: RoomAddress, body: z.infer<typeof roomBody>): RoomPut {
  const { members, ...rest } = body;
  const fields = withoutUndefined(rest);
  requirePrivateDirect(address, fields);
  const pair = parseDirectSlug(address.slug);
  const people: DesiredMember[] = pair.map(
    (user) => members.find((member) => member.user === user) ?? { user, role: "member" },
  );
  const others = members.filter(({ user }) => !pair.includes(user));
  const initial: DesiredRoom = {
    name: pair.join(", "),
    topic: null,
    avatar: null,
    visibility: "private",
    ...fields,
  };
  return { initial, fields, members: [...people, ...others] };
}

function requirePrivateDirect({ kind }: RoomAddress, { visibility }: Partial<DesiredRoom>): void {
  if (kind === "direct" && visibility === "public")
    throw fieldError("visibility", "of a direct room is private");
}

function withoutUndefined(fields: z.infer<typeof roomPatch>): Partial<DesiredRoom> {
  const { name, topic, avatar, visibility } = fields;
  return {
    ...(name === undefined ? {} : { name }),
    ...(topic === undefined ? {} : { topic }),
    ...(avatar === undefined ? {} : { avatar }),
    ...(visibility === undefined ? {} : { visibility }),
  };
}

function fieldError(path: string, message: string): AppError {
  return new AppError("invalid", "The body is not valid.", { errors: [{ path, message }] });
}

function isRoomFinal({ status }: RoomResource): boolean {
  return status !== "pending";
}

function roomLocation({ kind, slug }: RoomAddress): string {
  return `/v1/rooms/${kind}/${encodeURIComponent(slug)}`;
}
