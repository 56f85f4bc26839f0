import type { ActKind } from "../../contract/content/acts.ts";
import { deletionSql } from "./deletion.ts";
import { editSql } from "./edit.ts";
import type { ActSql } from "./frame.ts";
import { pinSql, unpinSql } from "./pin.ts";
import { reactionSql } from "./reaction.ts";
import { unreactionSql } from "./unreaction.ts";

/** The effect of every kind of act in the tables; a kind without one does not compile. */
export const ACT_SQL = {
  deletion: deletionSql,
  edit: editSql,
  reaction: reactionSql,
  unreaction: unreactionSql,
  pin: pinSql,
  unpin: unpinSql,
} satisfies Record<ActKind, ActSql>;
