import { z } from "zod";
import { AppError } from "../../../shared/contract/errors.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { countUnread } from "../../../shared/db/memberships/signs/unread.ts";
import { findUser } from "../../../shared/db/users/users.ts";
import { requireHolder } from "../../auth/require-holder.ts";
import { userRoute, type Route } from "../../http/route.ts";

const unreadTotal = z
  .strictObject({
    unread: z.int(),
    mentions: z.int(),
    rooms: z.int().meta({ description: "How many rooms have something of it" }),
  })
  .meta({ id: "UnreadTotal" });

export function getUnreadRoute({ db }: { db: Db }): Route {
  return userRoute(
    {
      method: "get",
      path: "/v1/me/unread",
      tag: "me",
      summary: "Count what is unread in all my rooms",
      description:
        "Muted rooms and those with `notify: none` are not counted; those with `notify: mentions` count by their mentions.",
      answers: { 200: { schema: unreadTotal, description: "The totals" } },
      problems: ["forbidden"],
    },
    async ({ caller }) => {
      const user = requireHolder(await findUser(db, caller.tenantId, caller.user), caller);
      if (user.status === "locked") throw new AppError("forbidden", "The user is locked.");
      const [total] = await countUnread(db, [user.id]);
      const { unread = 0, mentions = 0, rooms = 0 } = total ?? {};
      return { status: 200, body: { unread, mentions, rooms } };
    },
  );
}
