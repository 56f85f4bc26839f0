import { z } from "zod";
import { userName } from "../../../../shared/contract/names.ts";
import { listBlocks } from "../../../../shared/db/blocks/blocks.ts";
import { requirePerson } from "../../../auth/require-person.ts";
import { decodeCursor } from "../../../http/fields.ts";
import { pageFields, pageOf, toPage } from "../../../http/paging.ts";
import { userRoute, type Route } from "../../../http/route.ts";
import { blockResource, listPath, presentBlock, type BlockDeps } from "./block.ts";

export function listBlocksRoute({ db }: Pick<BlockDeps, "db">): Route {
  return userRoute(
    {
      method: "get",
      path: listPath,
      tag: "me",
      summary: "List whom I block",
      description: "Sorted by user id. Nobody sees who blocks them. 403 for a locked user.",
      query: z.strictObject(pageFields),
      answers: { 200: { schema: pageOf(blockResource, "BlockPage"), description: "A page of people" } },
      problems: ["forbidden", "invalid"],
    },
    async ({ caller, query: { limit, cursor: place } }) => {
      const cursor = decodeCursor(place, (id) => userName.safeParse(id).data ?? null);
      const { id } = await requirePerson(db, caller);
      const rows = await listBlocks(db, id, { limit: limit + 1, cursor });
      const page = toPage(rows, limit, ({ external_id: user }) => user);
      return { status: 200, body: { items: page.rows.map(presentBlock), next: page.next } };
    },
  );
}
