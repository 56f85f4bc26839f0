import { z } from "zod";
import type { DesiredRoom } from "../../../shared/db/rooms/rooms.ts";
import {
  formatDirectSlug,
  parseDirectSlug,
  userName,
  type RoomAddress,
} from "../../../shared/contract/names.ts";
import { desiredMembers, pathNewRoom, placeMembers, roomName } from "../../http/fields.ts";
import { namedFields, serverRoute, type Answer, type Route } from "../../http/route.ts";
import { putRoom, type RoomPut } from "../../mutations/put-room.ts";
import { roomMutexKey } from "../../mutations/room-mutex-key.ts";
import type { DesiredMember } from "../../mutations/set-members.ts";
import {
  changeAnswers,
  fieldError,
  path,
  requirePrivateDirect,
  roomFields,
  settleRoom,
  tag,
  type RoomCall,
  type RoomDeps,
} from "./room.ts";

const roomBody = z
  .strictObject({
    ...roomFields,
    name: roomName
      .meta({ description: `Needed for an event and a group. ${roomName.description ?? ""}` })
      .optional(),
    members: desiredMembers.default([]),
  })
  .meta({ id: "RoomRequest" });

type RoomBody = z.output<typeof roomBody>;

const directBody = z
  .strictObject({
    users: z
      .tuple([userName, userName])
      .refine(([a, b]) => a !== b, "must be two different users")
      .meta({ uniqueItems: true, description: "Two different users, in either order" }),
  })
  .meta({ id: "DirectRoomRequest" });

export function putRoomRoute(deps: RoomDeps): Route {
  return serverRoute(
    {
      method: "put",
      path,
      tag,
      summary: "Make or change a room",
      description:
        "The body says all fields of an event or a group: an absent topic or avatar becomes null, an absent visibility private, " +
        "and the name is needed. A direct room needs no body: it keeps the fields that are absent, is private, and has exactly " +
        "the two users of its slug as members; others are refused (409 conflict). Members are added and changed; none is removed. " +
        "409 too_many_roles when more than 1,000 members have a role above member.",
      body: {
        schema: roomBody.prefault({}),
        isOptional: true,
        example: { name: "Py meetup", members: [{ user: "ada", role: "owner" }] },
      },
      answers: changeAnswers,
      problems: ["not_found", "conflict", "too_many_roles", "invalid"],
      headers: ["Prefer"],
    },
    ({ caller, settle, params, body }) => {
      const address = pathNewRoom(params);
      return put(deps, { caller, settle }, address, describePut(address, body, caller.limits.unknownUsers));
    },
  );
}

export function putDirectRoomRoute(deps: RoomDeps): Route {
  return serverRoute(
    {
      method: "put",
      path: "/v1/rooms/direct",
      tag,
      summary: "Make the direct room of two users",
      description:
        "Both orders of the two users name the same room, which stays as it is when it exists. Users who do not exist are " +
        "created, or refused with 422 by the tenant's setting unknownUsers=refuse.",
      body: { schema: directBody, example: { users: ["ada", "bob"] } },
      answers: changeAnswers,
      problems: ["invalid"],
      headers: ["Prefer"],
    },
    ({ caller, settle, body: { users } }) => {
      const address = { kind: "direct" as const, slug: formatDirectSlug(...users) };
      const placeOf = (user: string) => `users.${users.indexOf(user)}`;
      const desired = describeDirectPut(address, { members: [] }, placeOf);
      return put(deps, { caller, settle }, address, { ...desired, unknownUsers: caller.limits.unknownUsers });
    },
  );
}

async function put(deps: RoomDeps, call: RoomCall, address: RoomAddress, desired: RoomPut): Promise<Answer> {
  const { tenantId } = call.caller;
  const sideEffects = await deps.mutex(roomMutexKey(tenantId, address), () =>
    putRoom(deps.db, tenantId, address, desired),
  );
  deps.afterCommit.perform(sideEffects);
  return settleRoom(deps.db, call, address);
}

/** An event's or a group's room becomes what the body says, as a whole. A direct room keeps what the body leaves out. */
function describePut(address: RoomAddress, body: RoomBody, unknownUsers: RoomPut["unknownUsers"]): RoomPut {
  if (address.kind === "direct") return { ...describeDirectPut(address, body, () => "slug"), unknownUsers };
  const { name, topic = null, avatar = null, visibility = "private" } = body;
  if (name === undefined) throw fieldError("name", "is needed");
  const room: DesiredRoom = { name, topic, avatar, visibility };
  return { initial: room, fields: room, members: placeMembers(body.members), unknownUsers };
}

/**
 * A new direct room is named after its two people, who are always its members. `placeOf`: where the request names one of
 * them, when its list of members does not.
 */
function describeDirectPut(
  address: RoomAddress,
  { members: listed, ...body }: RoomBody,
  placeOf: (user: string) => string,
): Omit<RoomPut, "unknownUsers"> {
  const fields = namedFields(body);
  requirePrivateDirect(address, fields);
  const members = placeMembers(listed);
  const pair = parseDirectSlug(address.slug);
  const people: DesiredMember[] = pair.map(
    (user) => members.find((member) => member.user === user) ?? { user, role: null, place: placeOf(user) },
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
