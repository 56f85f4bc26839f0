import { defineContent } from "./define.ts";
import { defineMessage } from "./message.ts";

/** What a program says, and what stands for messages of Matrix that we cannot show. */
export const notice = defineContent(defineMessage("notice"));
