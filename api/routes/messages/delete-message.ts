import { z } from "zod";
import { boundedText } from "../../../shared/contract/bounded-text.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { actedMessage, answerActed, messagePath, performAct } from "./answer-act.ts";
import type { PostMessageDeps } from "./post-message.ts";
import { tag } from "./room-access.ts";

const query = z.strictObject({
  reason: boundedText(500)
    .optional()
    .meta({ description: "Shown to everybody in the room, on the chat server too" }),
});

export function deleteMessageRoute(deps: PostMessageDeps): Route {
  return userRoute(
    {
      method: "delete",
      path: messagePath,
      tag,
      summary: "Delete a message",
      description:
        "By its author or a moderator. From the answer on its text, edits and reactions exist nowhere here; the chat server " +
        "follows: `act` says how far. A message that is deleted already is returned as it is. 403 for somebody else's message " +
        "without the role for it.",
      query,
      answers: {
        200: {
          schema: actedMessage,
          description: "Deleted, and nothing more will happen on the chat server",
        },
        202: { schema: actedMessage, description: "Deleted here; the chat server follows" },
      },
      problems: ["forbidden", "not_found", "invalid", "unavailable"],
      headers: ["Prefer"],
      limit: "acts",
    },
    async (call) => {
      const act = { kind: "deletion" as const, reason: call.query.reason ?? null };
      const acted = await performAct(deps, call, { act, isUnlimited: true });
      return answerActed(deps.db, call.caller.tenantId, acted);
    },
  );
}
