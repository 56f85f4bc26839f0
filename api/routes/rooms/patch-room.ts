import { z } from "zod";
import { roomSlug } from "../../../shared/contract/names.ts";
import type { DesiredRoom } from "../../../shared/db/rooms/many/desired-room.ts";
import type { Caller } from "../../auth/authenticate.ts";
import { requirePerson } from "../../auth/require-person.ts";
import { pathRoom } from "../../http/fields.ts";
import {
  MERGE_PATCH,
  namedFields,
  serverRoute,
  userRoute,
  type Answer,
  type Call,
  type Route,
} from "../../http/route.ts";
import { patchRoom } from "../../mutations/put-room.ts";
import { changerOf } from "../../mutations/rights/actor.ts";
import { roomMutexKey } from "../../mutations/room-mutex-key.ts";
import {
  changeAnswers,
  fieldError,
  path,
  requirePrivateDirect,
  roomFields,
  settleRoom,
  tag,
  type RoomDeps,
} from "./room.ts";

const patchBody = z
  .strictObject({
    ...roomFields,
    slug: roomSlug.optional().meta({
      description:
        "Renames the room: it keeps its history and its members, and former slugs lead to it (308). 409 conflict when another " +
        "room of the kind has the slug, and 422 for a direct room.",
    }),
  })
  .meta({ id: "RoomPatch" });
const { name, topic, avatar, posting, slowModeS } = roomFields;
const userPatchBody = z
  .strictObject({ name, topic, avatar, posting, slowModeS })
  .meta({ id: "RoomPatchByUser" });

const shape = {
  method: "patch",
  path,
  tag,
  summary: "Change some fields of a room",
  answers: changeAnswers,
  headers: ["Prefer"],
} as const;
const example = { topic: "Bring a laptop" };
const MERGE = "A merge patch (RFC 7396): an absent field stays, null clears it.";

export function patchRoomRoute(deps: RoomDeps): Route {
  return serverRoute(
    {
      ...shape,
      description: MERGE,
      body: { schema: patchBody, types: MERGE_PATCH, example },
      problems: ["not_found", "conflict", "invalid"],
    },
    (call) => patch(deps, call, namedFields(call.body)),
  );
}

export function patchRoomByUserRoute(deps: RoomDeps): Route {
  return userRoute(
    {
      ...shape,
      description:
        `${MERGE} For admins and above: 403 without the right, also in a direct room, and for a locked user; 404 for a room that the ` +
        "user is not in.",
      body: { schema: userPatchBody, types: MERGE_PATCH, example },
      problems: ["forbidden", "not_found", "invalid"],
    },
    async (call) => {
      await requirePerson(deps.db, call.caller);
      return patch(deps, call, namedFields(call.body));
    },
  );
}

async function patch(
  { db, afterCommit, mutex }: RoomDeps,
  { caller, settle, params }: Pick<Call<Caller, unknown, unknown>, "caller" | "settle" | "params">,
  body: Partial<DesiredRoom> & { slug?: string },
): Promise<Answer> {
  const address = pathRoom(params);
  const { tenantId } = caller;
  const { slug = address.slug, ...fields } = body;
  requirePrivateDirect(address, fields);
  if (address.kind === "direct" && slug !== address.slug)
    throw fieldError("slug", "must stay: a direct room is named after its users");
  const sideEffects = await mutex(roomMutexKey(tenantId, address), () =>
    patchRoom(db, tenantId, address, { fields, slug, changer: changerOf(caller) }),
  );
  afterCommit.perform(sideEffects);
  return settleRoom(db, { caller, settle }, { kind: address.kind, slug });
}
