import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import { countUnread } from "../../../shared/db/memberships/signs/unread.ts";
import { requirePerson } from "../../auth/require-person.ts";
import { userRoute, type Route } from "../../http/route.ts";

const meResource = z
  .strictObject({
    user: z.string(),
    displayName: z.string().nullable(),
    avatar: z.string().nullable(),
    unread: z.int().meta({ description: "As in GET /v1/me/unread" }),
    mentions: z.int(),
  })
  .meta({ id: "Me" });

export function getMeRoute({ db }: { db: Db }): Route {
  return userRoute(
    {
      method: "get",
      path: "/v1/me",
      tag: "me",
      summary: "Read who I am, and what is unread in all my rooms",
      answers: { 200: { schema: meResource, description: "The user" } },
      problems: ["forbidden"],
    },
    async ({ caller }) => {
      const user = await requirePerson(db, caller);
      const [total] = await countUnread(db, [user.id]);
      const { unread = 0, mentions = 0 } = total ?? {};
      const { external_id: name, display_name: displayName, avatar } = user;
      return { status: 200, body: { user: name, displayName, avatar, unread, mentions } };
    },
  );
}
