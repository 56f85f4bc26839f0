import type { Mentions } from "../../../../shared/contract/content/message.ts";
import { escapeText } from "../../../../shared/markup/escape.ts";
import { OURS } from "../../../../shared/markup/walk.ts";
import type { MatrixEvent } from "../../event.ts";
import type { EventPeople } from "../define.ts";
import { htmlFromMatrix } from "../html.ts";
import { hideMatrixIds, splitMatrixIds } from "./matrix-ids.ts";
import { mentionedIds, readHtml, wantsRoom } from "./mentions.ts";
import { toSafeText } from "./safe-text.ts";

type Body = { text: string; format?: "markdown"; html?: string; mentions?: Mentions };

/** The lines in front of a reply that quote what it answers, for clients that know no replies. */
const QUOTE = /^> <@[^\n]*\n(?:>[^\n]*\n)*\n?/;
const emoteQuote = /^> \* <@[^\n]*\n(?:>[^\n]*\n)*\n?/;

/** The text of a message of Matrix, with its HTML and whom it mentions; null for one without text. */
export function readBody(
  event: MatrixEvent,
  { isReply, people }: { isReply: boolean; people: EventPeople },
): Body | null {
  const { body } = event.content;
  if (typeof body !== "string") return null;
  const safe = toSafeText(body);
  const written = isReply ? safe.replace(QUOTE, "").replace(emoteQuote, "") : safe;
  const text = hideMatrixIds(written, event, people);
  if (text === "") return null;
  const html = readHtml(event);
  const walked = html === null ? null : htmlFromMatrix(toSafeText(html), event, people);
  const shown = walked?.html ?? null;
  const plain = shown === null || shown === "" ? mentionsInPlain(written, event, people) : null;
  const mentions = readMentions(event, people, [...(walked?.mentioned ?? []), ...(plain?.mentioned ?? [])]);
  return {
    text,
    ...(shown === null || shown === "" ? {} : { format: "markdown" as const, html: shown }),
    ...(plain === null ? {} : { html: plain.html }),
    ...(mentions === null ? {} : { mentions }),
  };
}

/** A plain text that holds Matrix ids of people whom we know; null for one without. */
function mentionsInPlain(
  text: string,
  event: MatrixEvent,
  people: EventPeople,
): { html: string; mentioned: string[] } | null {
  const parts = splitMatrixIds(text, event, people);
  const mentioned = parts.flatMap((part) => (typeof part === "string" ? [] : [part.user]));
  if (mentioned.length === 0) return null;
  const html = parts
    .map((part) =>
      typeof part === "string" ? escapeText(part).replaceAll("\n", "<br>") : OURS.writeMention(part, false),
    )
    .join("");
  return { html, mentioned };
}

function readMentions(event: MatrixEvent, people: EventPeople, shown: readonly string[]): Mentions | null {
  const listed = mentionedIds(event).flatMap((id) => people.find(id)?.user ?? []);
  const users = [...new Set([...listed, ...shown])];
  const room = wantsRoom(event) && people.mayMentionRoom;
  return users.length === 0 && !room ? null : { users, room };
}
