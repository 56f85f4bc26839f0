import { MAX_PINS } from "../../contract/content/pin.ts";
import type { ActSql } from "./frame.ts";

/** `message_states.pinned_number` is the number of the entry that pinned the message, and null for one that is not pinned. */
export const pinSql: ActSql = {
  isSame: "c.pinned_number is not null",
  fits: `(select count(*) from message_states p where p.room_id = c.room_id and p.pinned_number is not null) < ${MAX_PINS}`,
  allowsDeleted: false,
  at: "c.at",
  actsAs: "'observer'",
  isOpen: "true",
  content: "w.content",
  apply: "",
  ended: "0",
  entryContent: "cast('{}' as jsonb)",
  scrubs: false,
  state: { pinned_number: "act.number" },
  note: "",
};

export const unpinSql: ActSql = {
  ...pinSql,
  isSame: "c.pinned_number is null",
  fits: "true",
  state: { pinned_number: "null" },
};
