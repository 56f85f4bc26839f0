import { z } from "zod";
import { listVersions } from "../../../shared/db/acts/read-acts.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { findTimelineMessage } from "../../../shared/db/timeline/pages.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { isAllowed } from "../../../shared/contract/permissions.ts";
import { messageVersion } from "../../../shared/contract/resources.ts";
import { pathRoom } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { messagePath, noSuchMessage, pathMessage } from "./answer-act.ts";
import { requireReadAccess, tag } from "./room-access.ts";

const MAX_VERSIONS = 100;

const versions = z
  .strictObject({ items: z.array(messageVersion).meta({ description: "The oldest first, at most 100" }) })
  .meta({ id: "MessageVersions" });

export function listEditsRoute({ db }: { db: Db }): Route {
  return userRoute(
    {
      method: "get",
      path: `${messagePath}/edits`,
      tag,
      summary: "Read earlier texts of a message",
      description: "For whoever may delete the message. A deleted message has none.",
      answers: { 200: { schema: versions, description: "The texts before the present one" } },
      problems: ["forbidden", "not_found"],
    },
    async ({ caller, params }) => {
      const {
        room_id: roomId,
        user_id: userId,
        standing,
      } = await requireReadAccess(db, caller, pathRoom(params));
      const target = pathMessage(params);
      const message = await findTimelineMessage(db, caller.tenantId, roomId, target);
      if (!message) throw noSuchMessage();
      const isOwn = message.sender_id === userId && isAllowed(standing, "delete own");
      if (!isOwn && !isAllowed(standing, "delete any"))
        throw new AppError("forbidden", "You may not read earlier texts of the message.");
      const rows =
        message.redacted_at === null ? await listVersions(db, { roomId, target, limit: MAX_VERSIONS }) : [];
      return { status: 200, body: { items: rows.map((row) => ({ ...row, at: row.at.toISOString() })) } };
    },
  );
}
