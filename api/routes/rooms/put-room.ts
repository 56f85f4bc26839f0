import { z } from "zod";
import type { DesiredRoom } from "../../../shared/db/rooms/many/desired-room.ts";
import { parseDirectSlug, type RoomAddress } from "../../../shared/contract/names.ts";
import { roomName } from "../../../shared/contract/room-fields.ts";
import { desiredMembers, pathNewRoom, placeMembers } from "../../http/fields.ts";
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

export function putRoomRoute(deps: RoomDeps): Route {
  return serverRoute(
    {
      method: "put",
      path,
      tag,
      summary: "Make or change a room",
      description:
        "The body says all fields of an event or a group: an absent topic or avatar becomes null, an absent visibility private, " +
        "an absent join invite, an absent posting everyone, an absent slowModeS and retentionDays 0, and the name is needed. A direct room needs no body: it keeps the fields that are absent, is private, and has exactly " +
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

export async function put(
  deps: RoomDeps,
  call: RoomCall,
  address: RoomAddress,
  desired: RoomPut,
): Promise<Answer> {
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
  const { name, topic = null, avatar = null, visibility = "private", join = "invite" } = body;
  const { posting = "everyone", slowModeS = 0, retentionDays = 0 } = body;
  if (name === undefined) throw fieldError("name", "is needed");
  const room: DesiredRoom = { name, topic, avatar, visibility, join, posting, slowModeS, retentionDays };
  return { initial: room, fields: room, members: placeMembers(body.members), unknownUsers };
}

/**
 * A new direct room is named after its two people, who are always its members. `placeOf`: where the request names one of
 * them, when its list of members does not.
 */
export function describeDirectPut(
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
    join: "invite",
    posting: "everyone",
    slowModeS: 0,
    ...fields,
  };
  return { initial, fields, members: [...people, ...others] };
}
