import type { Person } from "../../contract/resources.ts";
import type { PersonColumns } from "../../db/timeline/entries.ts";
import { personRef } from "../../platform/ids.ts";

type SenderColumns = {
  sender_id: string | null;
  sender_ref: string | null;
  sender_name: string | null;
  sender_user: string | null;
  sender_display_name: string | null;
  sender_avatar: string | null;
};

/** A person as clients see it. `scope`: the id of the room. */
export function presentPerson({ ref, user, displayName, avatar }: PersonColumns, scope: string): Person {
  return { ref: ref ?? personRef(displayName ?? "nobody", scope), user, displayName, avatar };
}

/** Who wrote an entry. */
export function presentSender(row: SenderColumns, scope: string): Person {
  const displayName = row.sender_user === null ? row.sender_name : row.sender_display_name;
  const ref = row.sender_ref ?? row.sender_id;
  return presentPerson({ ref, user: row.sender_user, displayName, avatar: row.sender_avatar }, scope);
}

/** Stands for Matrix, where no person acts. */
export function presentNobody(scope: string): Person {
  return presentPerson({ ref: null, user: null, displayName: null, avatar: null }, scope);
}
