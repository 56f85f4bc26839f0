import type { MatrixEvent } from "../../event.ts";
import type { EventPeople, NamedPerson } from "../define.ts";

const START = String.raw`(?<![\p{L}\p{N}_])`;
const SERVER = String.raw`[0-9A-Za-z](?:[0-9A-Za-z.-]{0,200}[0-9A-Za-z])?(?::\d{1,5})?`;
const USER_ID = String.raw`${START}@[0-9A-Za-z._=\-/+]{1,200}:${SERVER}`;
/** An id of a room, which since version 12 names no server, or an alias. */
const ROOM_ID = String.raw`${START}(?:![0-9A-Za-z_-]{43}(?![0-9A-Za-z_-])|[!#][^\s!#@:]{1,200}:${SERVER})`;

const MATRIX_ID = new RegExp(USER_ID, "gu");
const MATRIX_LINK = /^(?:https?:\/\/matrix\.to\/#\/|matrix:)(.*)$/i;
const LINK_OR_ID = new RegExp(`https?://matrix\\.to/#/[^\\s<>"')]*|${USER_ID}|${ROOM_ID}`, "giu");
const MAY_HOLD_ID = /[@!#]/;

export const NOBODY: EventPeople = { find: () => undefined, mayMentionRoom: false };

/** A link into Matrix: `user` is the Matrix id that it names, null for a room or an event. Null for any other link. */
export function readMatrixLink(href: string): { user: string | null } | null {
  const path = MATRIX_LINK.exec(href.trim())?.[1];
  if (path === undefined) return null;
  const [target = ""] = decode(path.replace(/^u\//, "@").replace(/^user\//, "@")).split("?");
  return { user: target.startsWith("@") ? target : null };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Matrix ids that stand in a text. */
export function matrixIdsIn(text: string): string[] {
  return text.match(MATRIX_ID) ?? [];
}

/** A text cut at the people of ours whom it names; other Matrix ids, and links to rooms, are hidden. */
export function splitMatrixIds(
  text: string,
  event: Pick<MatrixEvent, "sender">,
  people: EventPeople,
): (string | NamedPerson)[] {
  if (!MAY_HOLD_ID.test(text)) return [text];
  const parts: (string | NamedPerson)[] = [];
  let from = 0;
  for (const { 0: found, index } of text.matchAll(LINK_OR_ID)) {
    const link = readMatrixLink(found);
    const id = link === null ? found : link.user;
    const person = id === null ? undefined : people.find(id);
    if (person === undefined && link === null && !isOfServer(found, event)) continue;
    parts.push(text.slice(from, index), person ?? (id?.startsWith("@") === true ? "@someone" : "#room"));
    from = index + found.length;
  }
  return [...parts, text.slice(from)];
}

/** A text with people's names in the place of Matrix ids, which do not leave the server. */
export function hideMatrixIds(
  text: string,
  event: Pick<MatrixEvent, "sender">,
  people: EventPeople = NOBODY,
): string {
  return splitMatrixIds(text, event, people)
    .map((part) => (typeof part === "string" ? part : `@${part.name}`))
    .join("");
}

/** Whether an address holds a Matrix id. */
export function namesPerson(href: string, event: Pick<MatrixEvent, "sender">, people: EventPeople): boolean {
  const address = decode(href);
  return hideMatrixIds(address, event, people) !== address;
}

/** Whether what looks like an id is one: a time of day, `@10:30`, is none. */
function isOfServer(id: string, { sender }: Pick<MatrixEvent, "sender">): boolean {
  if (!id.includes(":")) return true;
  const server = id.slice(id.indexOf(":") + 1);
  const isSenders = sender.slice(sender.indexOf(":") + 1) === server;
  return isSenders || (server.includes(".") && /[A-Za-z]/.test(server)) || /^\d+(\.\d+){3}/.test(server);
}
