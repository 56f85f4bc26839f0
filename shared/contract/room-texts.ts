import { boundedText } from "./bounded-text.ts";

/** What a room may be called, and say of itself. */
export const roomName = boundedText(256);
export const roomTopic = boundedText(1_024);
