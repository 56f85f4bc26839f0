import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import type { ClaimedMessage } from "../../../shared/db/messages/outbox.ts";
import { findNamedPeople } from "../../../shared/db/users/named-people.ts";
import type { NamedPerson } from "../../matrix/content/define.ts";

/** The people whom messages and edits mention, by their own ids. */
export type People = ReadonlyMap<string, NamedPerson>;

const NOBODY: People = new Map();
const mentioning = z.object({ mentions: z.object({ users: z.array(z.string()) }) });

/** Looks up whom some messages mention. Nothing is looked up when they mention nobody, as most do. */
export async function findMentioned(
  db: Db,
  tenantId: string,
  messages: readonly Pick<ClaimedMessage, "content">[],
): Promise<People> {
  const users = new Set(messages.flatMap(({ content }) => mentionedUsers(content)));
  if (users.size === 0) return NOBODY;
  const rows = await findNamedPeople(db, tenantId, [...users]);
  return new Map(
    rows.map(({ matrix_user_id: matrixUserId, user, name }) => [user, { matrixUserId, user, name }]),
  );
}

function mentionedUsers(content: Record<string, unknown>): string[] {
  return "mentions" in content ? (mentioning.safeParse(content).data?.mentions.users ?? []) : [];
}
