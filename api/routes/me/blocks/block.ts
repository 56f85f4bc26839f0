import { z } from "zod";
import { person } from "../../../../shared/contract/resources.ts";
import type { BlockRow } from "../../../../shared/db/blocks/blocks.ts";
import type { Db } from "../../../../shared/db/connection/open.ts";
import type { AfterCommit } from "../../../after-commit/after-commit.ts";

export const listPath = "/v1/me/blocks";
export const path = `${listPath}/{user}`;

export type BlockDeps = { db: Db; afterCommit: AfterCommit };

export const blockResource = z
  .strictObject({
    user: person,
    at: z.iso.datetime().meta({ description: "Since when" }),
  })
  .meta({ id: "Block" });

export function presentBlock(row: BlockRow): z.infer<typeof blockResource> {
  return {
    user: {
      ...{ ref: row.blocked_id, user: row.external_id },
      ...{ displayName: row.display_name, avatar: row.avatar },
    },
    at: row.created_at.toISOString(),
  };
}
