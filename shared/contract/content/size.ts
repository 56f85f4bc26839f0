import { NO_MENTIONS, type Mentions } from "./message.ts";

/** The bytes of a message's event on Matrix. A homeserver refuses events above 65,536. */
export const MAX_EVENT_BYTES = 60_000;

/** A Matrix id, or a link to one: what a mention has more of on Matrix, each time that it stands there. */
const MENTION_BYTES = 300;
const MENTION_IN_HTML = 'data-mention="';
const ENVELOPE_BYTES = 2_000;

const encoder = new TextEncoder();

type Sized = { text: string; html?: string | null | undefined; mentions?: Mentions | undefined };

/**
 * An upper bound of the bytes that a content takes as an event. `text`: with people's names, as Matrix has it. `isEdit`: it holds
 * the text once more, for older clients.
 */
export function eventBytes(
  { text, html = null, mentions = NO_MENTIONS }: Sized,
  { isEdit = false }: { isEdit?: boolean } = {},
): number {
  const texts = jsonBytes(text) * (isEdit ? 2 : 1) + jsonBytes(html ?? "");
  const shown = (html ?? "").split(MENTION_IN_HTML).length - 1;
  return ENVELOPE_BYTES + texts + (mentions.users.length + shown) * MENTION_BYTES;
}

function jsonBytes(text: string): number {
  return encoder.encode(JSON.stringify(text)).length;
}
