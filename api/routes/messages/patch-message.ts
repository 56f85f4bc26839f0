import { z } from "zod";
import { ACTS } from "../../../shared/contract/content/acts.ts";
import { textRequest } from "../../../shared/contract/content/message.ts";
import { clientId, pathRoom } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { actedMessage, answerActed, messagePath, performAct } from "./answer-act.ts";
import { composeAsAsked, composeEdit, composeOrRepeat } from "./compose.ts";
import { readClientId, type PostMessageDeps } from "./post-message.ts";
import { tag } from "./room-access.ts";

const body = z
  .strictObject({
    ...textRequest,
    clientId: clientId
      .optional()
      .meta({ description: "The sender's own id of the edit. One with the same id is accepted once." }),
  })
  .meta({ id: "NewEdit" });

export function patchMessageRoute(deps: PostMessageDeps): Route {
  return userRoute(
    {
      method: "patch",
      path: messagePath,
      tag,
      summary: "Edit a message",
      description:
        "By its author alone. The message keeps its number, and shows the new text at once; `act` says how far the chat server " +
        "has followed. Whom the new text mentions is whom the message mentions. 409 for a deleted message. A repeated Idempotency-Key or clientId with the same text returns the message " +
        "with the first edit; with another body or message it is refused: 422 idempotency_key_reused.",
      body: { schema: body, example: { text: "See you at eight", clientId: "c-18" } },
      answers: {
        200: { schema: actedMessage, description: "Edited, on the chat server too, or its act is dead" },
        202: { schema: actedMessage, description: "Edited here; the chat server follows" },
      },
      problems: [
        "forbidden",
        "not_found",
        "conflict",
        "too_large",
        "invalid",
        "idempotency_key_reused",
        "unavailable",
      ],
      headers: ["Idempotency-Key", "Prefer"],
      limit: "acts",
    },
    async (call) => {
      const id = readClientId(call.header("idempotency-key"), call.body.clientId);
      const place = { db: deps.db, caller: call.caller, room: pathRoom(call.params) };
      const text = await composeOrRepeat(place, id, {
        compose: () => composeEdit(place, call.body),
        asAsked: () => composeAsAsked(call.body),
      });
      const act = ACTS.edit.content.parse({ ...text, kind: "edit" });
      const acted = await performAct(deps, call, { act, clientId: id, isUnlimited: false });
      return answerActed(deps.db, call.caller.tenantId, acted);
    },
  );
}
