import { MsgType } from "../names.ts";
import { messageOnMatrix } from "./message.ts";

export const emoteOnMatrix = messageOnMatrix("emote", MsgType.Emote);
