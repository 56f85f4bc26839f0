import { CONTENT } from "../../../shared/contract/content/index.ts";
import { ACTS } from "../../../shared/contract/content/acts.ts";
import { clientId } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { actedMessage, answerActed, messagePath, performAct } from "./answer-act.ts";
import { readClientId, type PostMessageDeps } from "./post-message.ts";
import { tag } from "./room-access.ts";

const body = CONTENT.text.request
  .extend({
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
        "has followed. 409 for a deleted message. A repeated Idempotency-Key or clientId with the same text returns the message " +
        "with the first edit; with another text or message it is refused: 422 idempotency_key_reused.",
      body: { schema: body, example: { text: "See you at eight", clientId: "c-18" } },
      answers: {
        200: { schema: actedMessage, description: "Edited, on the chat server too, or its act is dead" },
        202: { schema: actedMessage, description: "Edited here; the chat server follows" },
      },
      problems: ["forbidden", "not_found", "conflict", "invalid", "idempotency_key_reused", "unavailable"],
      headers: ["Idempotency-Key", "Prefer"],
      limit: "acts",
    },
    async (call) => {
      const id = readClientId(call.header("idempotency-key"), call.body.clientId);
      const act = ACTS.edit.content.parse({ ...CONTENT.text.toContent(call.body), kind: "edit" });
      const acted = await performAct(deps, call, { act, clientId: id, isUnlimited: false });
      return answerActed(deps.db, call.caller.tenantId, acted);
    },
  );
}
