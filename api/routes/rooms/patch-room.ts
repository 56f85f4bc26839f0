import { z } from "zod";
import { pathRoom } from "../../http/fields.ts";
import { MERGE_PATCH, namedFields, serverRoute, type Route } from "../../http/route.ts";
import { patchRoom } from "../../mutations/put-room.ts";
import { roomMutexKey } from "../../mutations/room-mutex-key.ts";
import {
  changeAnswers,
  path,
  requirePrivateDirect,
  roomFields,
  settleRoom,
  tag,
  type RoomDeps,
} from "./room.ts";

const patchBody = z.strictObject(roomFields).meta({ id: "RoomPatch" });

export function patchRoomRoute({ db, afterCommit, mutex }: RoomDeps): Route {
  return serverRoute(
    {
      method: "patch",
      path,
      tag,
      summary: "Change some fields of a room",
      description: "A merge patch (RFC 7396): an absent field stays, null clears it.",
      body: {
        schema: patchBody,
        types: MERGE_PATCH,
        example: { topic: "Bring a laptop" },
      },
      answers: changeAnswers,
      problems: ["not_found", "invalid"],
      headers: ["Prefer"],
    },
    async ({ caller, settle, params, body }) => {
      const address = pathRoom(params);
      const { tenantId } = caller;
      const fields = namedFields(body);
      requirePrivateDirect(address, fields);
      const sideEffects = await mutex(roomMutexKey(tenantId, address), () =>
        patchRoom(db, tenantId, address, fields),
      );
      afterCommit.perform(sideEffects);
      return settleRoom(db, { caller, settle }, address);
    },
  );
}
