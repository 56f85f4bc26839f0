import { defineContent } from "./define.ts";
import { defineMessage } from "./message.ts";

/** What a person does: shown behind the person's name. */
export const emote = defineContent(defineMessage("emote"));
