import { z } from "zod";
import { person } from "../../../shared/contract/resources.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { listReceipts } from "../../../shared/db/memberships/signs/positions.ts";
import { pathRoom } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { requireReadAccess } from "../messages/room-access.ts";

const receiptList = z
  .strictObject({ items: z.array(z.strictObject({ user: person, number: z.int() })) })
  .meta({ id: "Receipts" });

export function getReceiptsRoute({ db }: { db: Db }): Route {
  return userRoute(
    {
      method: "get",
      path: "/v1/rooms/{kind}/{slug}/receipts",
      tag: "signs",
      summary: "Read how far the members have read",
      description:
        "Members who have read something, without guests. Empty in a room of more than 100 members.",
      answers: { 200: { schema: receiptList, description: "One for each, by user id" } },
      problems: ["forbidden", "not_found"],
    },
    async ({ caller, params }) => {
      const access = await requireReadAccess(db, caller, pathRoom(params));
      const rows = await listReceipts(db, access.room_id);
      const items = rows.map((row) => ({
        user: {
          ...{ ref: row.user_id, user: row.external_id },
          ...{ displayName: row.display_name, avatar: row.avatar },
        },
        number: row.receipt_number,
      }));
      return { status: 200, body: { items } };
    },
  );
}
