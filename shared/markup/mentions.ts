import type { Mention } from "./walk.ts";

/** Who may stand in a text as `@` and an id: names by id. */
export type Names = ReadonlyMap<string, string>;

const WORD = /[\p{L}\p{N}_]/u;

/** The mention that begins at `at`, where an `@` stands, and where it ends; the longest id counts. Null for none. */
export function mentionAt(text: string, at: number, names: Names): (Mention & { end: number }) | null {
  if (text[at] !== "@" || WORD.test(text[at - 1] ?? "")) return null;
  let longest: (Mention & { end: number }) | null = null;
  for (const [user, name] of names) {
    const end = at + 1 + user.length;
    const isHere = text.startsWith(user, at + 1) && !WORD.test(text[end] ?? "");
    if (isHere && end > (longest?.end ?? 0)) longest = { user, name, end };
  }
  return longest;
}

/** A text cut at its mentions. */
export function splitMentions(text: string, names: Names): (string | Mention)[] {
  const parts: (string | Mention)[] = [];
  let from = 0;
  for (let at = text.indexOf("@"); at !== -1; at = text.indexOf("@", at + 1)) {
    const found = at < from ? null : mentionAt(text, at, names);
    if (found === null) continue;
    parts.push(text.slice(from, at), { user: found.user, name: found.name });
    from = found.end;
  }
  return [...parts, text.slice(from)].filter((part) => part !== "");
}

/** A text whose mentions are written as names. */
export function nameMentions(text: string, names: Names): string {
  return splitMentions(text, names)
    .map((part) => (typeof part === "string" ? part : `@${part.name}`))
    .join("");
}
