import { MsgType } from "../names.ts";
import { messageOnMatrix } from "./message.ts";

export const textOnMatrix = messageOnMatrix("text", MsgType.Text);
