import { z } from "zod";
import { readCount } from "../../../shared/db/acts/read-acts.ts";
import { comparedKey, reactionKey } from "../../../shared/contract/content/reaction.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { actResource } from "../../../shared/contract/resources.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { answerWith, messagePath, performAct, presentAct } from "./answer-act.ts";
import type { PostMessageDeps } from "./post-message.ts";
import { tag } from "./room-access.ts";

const reacted = z
  .strictObject({
    message: z.uuid(),
    key: z.string(),
    count: z.int().meta({ description: "How many people use the key now" }),
    act: actResource.nullable(),
  })
  .meta({ id: "Reacted" });

type Wish = { method: "put" | "delete"; kind: "reaction" | "unreaction"; summary: string };

/** Sets what the caller wants: one's own reaction with a key, or none. */
function reactionRoute(deps: PostMessageDeps, { method, kind, summary }: Wish): Route {
  return userRoute(
    {
      method,
      path: `${messagePath}/reactions/{key}`,
      tag,
      summary,
      description:
        "Counts at once; `act` says how far the chat server has followed. What is so already is left alone, and answered with the " +
        "last act of this person and key, or null. Keys are compared without U+FE0F. 409 for a deleted message, 422 above 20 keys " +
        "of one person or 50 of a message.",
      answers: {
        200: { schema: reacted, description: "So it is, and nothing more will happen on the chat server" },
        202: { schema: reacted, description: "So it is here; the chat server follows" },
      },
      problems: ["forbidden", "not_found", "conflict", "invalid", "unavailable"],
      headers: ["Prefer"],
      limit: "acts",
    },
    async (call) => {
      const raw = pathKey(call.params);
      const key = comparedKey(raw);
      const act = { kind, key, ...(raw === key ? {} : { raw }) };
      const acted = await performAct(deps, call, { act, isUnlimited: false });
      const { roomId, target } = acted;
      const count = await readCount(deps.db, { roomId, target, key });
      const body: z.infer<typeof reacted> = { message: target, key, count, act: presentAct(acted.act) };
      return answerWith(acted, body);
    },
  );
}

/** The key in a path. @throws AppError `invalid`. */
function pathKey(params: Readonly<Record<string, string>>): string {
  const parsed = reactionKey.safeParse(params["key"]);
  if (parsed.success) return parsed.data;
  const message = parsed.error.issues[0]?.message ?? "is not a key";
  throw new AppError("invalid", "The path is not valid.", { errors: [{ path: "key", message }] });
}

export function reactionRoutes(deps: PostMessageDeps): Route[] {
  return [
    reactionRoute(deps, { method: "put", kind: "reaction", summary: "React to a message" }),
    reactionRoute(deps, { method: "delete", kind: "unreaction", summary: "Take a reaction back" }),
  ];
}
