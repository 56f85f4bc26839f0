import { emptyingCtes } from "../messages/emptying.ts";
import type { ActSql } from "./frame.ts";

/** It leaves what `emptying.ts` says. */
export const deletionSql: ActSql = {
  isSame: "c.target_redacted_at is not null",
  fits: "true",
  allowsDeleted: true,
  at: "c.at",
  actsAs: "case when w.is_own then 'sender' else 'observer' end",
  isOpen:
    "(case when w.status is null then true when w.status = 'queued' then w.replayed else w.status <> 'dead' end)",
  content:
    "w.content || cast(case when w.pinned_number is not null then '{\"pinned\": true}' else '{}' end as jsonb)",
  apply: `${emptyingCtes("act")},`,
  ended: "(select count(*) from ended)",
  entryContent: "jsonb_build_object('reason', act.content -> 'reason')",
  scrubs: true,
  state: {
    deleted_number: "act.number",
    edit_number: "null",
    pinned_number: "null",
    has_reactions: "false",
  },
  note: "",
};
