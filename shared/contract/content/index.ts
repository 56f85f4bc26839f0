import type { EntryType } from "../frames.ts";

/** Types of timeline entries that a person counts as unread: a parameter of the statements that count. */
export const UNREAD_ENTRY_TYPES: readonly EntryType[] = ["message.created"];
