import { z } from "zod";
import { parseHtml, type HtmlNode } from "../../../../shared/markup/parse.ts";
import type { MatrixEvent } from "../../event.ts";
import { matrixIdsIn, readMatrixLink } from "./matrix-ids.ts";

/** People whom one event may name; the others are not looked up. */
const PEOPLE_AT_MOST = 100;

const mentions = z.object({
  user_ids: z.array(z.unknown()).optional().catch(undefined),
  room: z.boolean().optional().catch(undefined),
});

/** The Matrix ids of whom an event says that it mentions them. */
export function mentionedIds({ content }: MatrixEvent): string[] {
  const parsed = mentions.safeParse(content["m.mentions"]);
  return (parsed.data?.user_ids ?? []).filter((id) => typeof id === "string");
}

/** Whether an event mentions the room. Whether its sender may is another question. */
export function wantsRoom({ content }: MatrixEvent): boolean {
  return mentions.safeParse(content["m.mentions"]).data?.room === true;
}

/** The HTML of an event; null for one of plain text. */
export function readHtml({ content }: MatrixEvent): string | null {
  const html = content["formatted_body"];
  return content["format"] === "org.matrix.custom.html" && typeof html === "string" ? html : null;
}

/** Whether a message, or what an edit makes of it, mentions the room. */
export function wantsToMentionRoom(event: MatrixEvent): boolean {
  return versionsOf(event).some(wantsRoom);
}

/** An event, and what it makes of another one when it is an edit. */
function versionsOf(event: MatrixEvent): MatrixEvent[] {
  const edited = event.content["m.new_content"];
  const isEdit = typeof edited === "object" && edited !== null;
  return isEdit ? [event, { ...event, content: edited as MatrixEvent["content"] }] : [event];
}

/** Matrix ids of people whom a message, an edit or the reason of a redaction names, in the ways that clients use. */
export function namedPeople(event: MatrixEvent): string[] {
  const named = versionsOf(event).flatMap((version) => {
    const { body, reason } = version.content;
    const ids = [body, reason].flatMap((text) => (typeof text === "string" ? matrixIdsIn(text) : []));
    return [...mentionedIds(version), ...linkedPeople(readHtml(version)), ...ids];
  });
  return [...new Set(named)].slice(0, PEOPLE_AT_MOST);
}

function linkedPeople(html: string | null): string[] {
  // Most messages link to nobody.
  if (html === null || !/matrix/i.test(html)) return html === null ? [] : matrixIdsIn(html);
  return [...(parseHtml(html) ?? []).flatMap(linksIn), ...matrixIdsIn(html)];
}

function linksIn(node: HtmlNode): string[] {
  if (typeof node === "string") return [];
  const user = readMatrixLink(node.attributes["href"] ?? "")?.user ?? null;
  return [...(user === null ? [] : [user]), ...node.children.flatMap(linksIn)];
}
