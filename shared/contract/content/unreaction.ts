import { z } from "zod";
import { defineAct } from "./define.ts";
import { reactionContent } from "./reaction.ts";

/** The removal of one's reaction. On Matrix it redacts every event of the reaction. */
export const unreaction = defineAct({
  entry: "reaction.removed",
  act: "reaction",
  content: z.object({ kind: z.literal("unreaction"), ...reactionContent }),
  own: "react",
  any: "react",
  isUnlimited: false,
  survivesRemoval: true,
  identify: ({ key }) => key,
});
