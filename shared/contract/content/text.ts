import { z } from "zod";
import { defineContent } from "./define.ts";
import { defineMessage } from "./message.ts";

const { content, ...type } = defineMessage("text");

/** What a person says. Rows without a kind are of this one: they are older than the kinds. */
export const text = defineContent({
  ...type,
  content: content.extend({ kind: z.literal("text").default("text") }),
});
