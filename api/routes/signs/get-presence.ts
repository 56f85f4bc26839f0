import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import type { Redis } from "../../../shared/platform/redis.ts";
import { readPresence } from "../../../shared/timeline/signs/presence.ts";
import { pathRoom } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { requireReadAccess } from "../messages/room-access.ts";

const presence = z
  .strictObject({
    online: z.int().meta({ description: "Members with an open socket, each once" }),
    users: z
      .array(z.string())
      .optional()
      .meta({ description: "Their ids, in order; absent in a room of more than 100 members" }),
  })
  .meta({ id: "Presence" });

export function getPresenceRoute({ db, redis }: { db: Db; redis: Redis }): Route {
  return userRoute(
    {
      method: "get",
      path: "/v1/rooms/{kind}/{slug}/presence",
      tag: "signs",
      summary: "Read who is present",
      description:
        "Members whose socket follows the room, on any device. What changes is published as `presence`, at most once in 5 s, in " +
        "rooms of more than 100 members once in 30 s.",
      answers: { 200: { schema: presence, description: "Who is present" } },
      problems: ["forbidden", "not_found", "unavailable"],
    },
    async ({ caller, params }) => {
      const access = await requireReadAccess(db, caller, pathRoom(params));
      return { status: 200, body: await readPresence(redis, access) };
    },
  );
}
