import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import { findSigner } from "../../../shared/db/memberships/signs/signs.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { isAllowed } from "../../../shared/contract/permissions.ts";
import type { Redis } from "../../../shared/platform/redis.ts";
import { setTyping } from "../../../shared/timeline/signs/typing.ts";
import { requireHolder } from "../../auth/require-holder.ts";
import { pathRoom } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";

const typingBody = z.strictObject({ typing: z.boolean() }).meta({ id: "Typing" });

export function putTypingRoute({ db, redis }: { db: Db; redis: Redis }): Route {
  return userRoute(
    {
      method: "put",
      path: "/v1/rooms/{kind}/{slug}/typing",
      tag: "signs",
      summary: "Say that I am typing, or not any more",
      description:
        "It ends 8 s after the last `true`, and with the person's next message. While a person types, a client repeats `true` " +
        "every few seconds. 403 for a guest, who only reads, and a muted member; 404 for a room that the user is not in. 60 calls in 10 s for each " +
        "person and room, all live signs together.",
      body: { schema: typingBody, example: { typing: true } },
      answers: { 204: { description: "Noted" } },
      problems: ["forbidden", "not_found", "invalid", "unavailable"],
      limit: "signs",
    },
    async ({ caller, params, body }) => {
      const room = pathRoom(params);
      const found = await findSigner(db, caller.tenantId, room, caller.user);
      if (!found) throw new AppError("not_found", "There is no such room.");
      const { id, external_id: user, display_name: displayName, avatar, ...signer } = found;
      const { membership, status } = requireHolder({ id, ...signer }, caller);
      if (!membership || !isAllowed(membership.standing, "read"))
        throw new AppError("not_found", "There is no such room.");
      if (status === "locked") throw new AppError("forbidden", "The user is locked.");
      if (!isAllowed(membership.standing, "type"))
        throw new AppError("forbidden", "You may not write in this room.");
      const person = { ref: id, user, displayName, avatar };
      await setTyping(redis, membership, { person, isTyping: body.typing });
      return { status: 204, body: undefined };
    },
  );
}
