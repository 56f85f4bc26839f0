import { MAX_EVENT_BYTES, eventBytes } from "../../../shared/contract/content/size.ts";
import type { Content } from "../../../shared/contract/content/index.ts";
import type { MessageRequest, TextRequest } from "../../../shared/contract/content/message.ts";
import { AppError, type FieldError } from "../../../shared/contract/errors.ts";
import type { RoomAddress } from "../../../shared/contract/names.ts";
import { isAllowed } from "../../../shared/contract/permissions.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { findMentionable, type Mentionable } from "../../../shared/db/memberships/mentions/mentionable.ts";
import { findMessageByClientId } from "../../../shared/db/messages/messages.ts";
import { nameMentions } from "../../../shared/markup/mentions.ts";
import { renderMarkdown, renderPlain } from "../../../shared/markup/render.ts";
import type { KeyCaller, UserCaller } from "../../auth/authenticate.ts";
import { requireReader } from "./room-access.ts";

/** Where a text is to stand, and who writes it: a person, or the product itself, which has every right. */
type Place = { db: Db; caller: UserCaller | KeyCaller; room: RoomAddress };

/**
 * What a row keeps of a message that is posted: rendered, with whom it mentions. Only for one that mentions or answers anything is
 * something looked up.
 * @throws AppError `invalid` when it names somebody who is no member, or answers what is not in the room; `forbidden` when it
 *   mentions the room and may not; `too_large`; and as `requireReader`.
 */
export async function composeMessage(place: Place, request: MessageRequest): Promise<Content> {
  const { kind = "text", replyTo } = request;
  const found = await findPeople(place, request, replyTo ?? null);
  const thread = found.replied?.thread ?? null;
  const names = namesOf(found, place.caller);
  const content: Content = {
    kind,
    ...composeText(request, names),
    ...(replyTo === undefined ? {} : { replyTo }),
    ...(thread === null ? {} : { thread }),
  };
  requireSize(content, names, { isEdit: false });
  return content;
}

/** The same for the new text of a message. */
export async function composeEdit(place: Place, request: TextRequest): Promise<TextContent> {
  const found = await findPeople(place, request, null);
  const names = namesOf(found, place.caller);
  const content = composeText(request, names);
  requireSize(content, names, { isEdit: true });
  return content;
}

/** What a request asks for, with nothing looked up. It tells a repeat from another request, and is never kept. */
export function composeAsAsked(request: TextRequest): TextContent {
  return composeText(request, new Map((request.mentions?.users ?? []).map((user) => [user, user])));
}

/**
 * What `compose` makes. Where it refuses a request whose client id is used already, what that asks for: a repeat is answered as it
 * was the first time, although whom it names may have left since.
 */
export async function composeOrRepeat<Composed>(
  { db, caller }: Place & { caller: UserCaller },
  clientId: string | null,
  { compose, asAsked }: { compose: () => Promise<Composed>; asAsked: () => Composed },
): Promise<Composed> {
  try {
    return await compose();
  } catch (error) {
    const { tenantId, user, stamp } = caller;
    const isUsed =
      error instanceof AppError &&
      clientId !== null &&
      (await findMessageByClientId(db, { tenantId, user, stamp, clientId })) !== null;
    if (!isUsed) throw error;
    return asAsked();
  }
}

type TextContent = Pick<Content, "text" | "format" | "html" | "mentions">;

const NOBODY: Mentionable = { members: [], replied: null };

async function findPeople(
  { db, caller, room }: Place,
  { mentions }: TextRequest,
  replyTo: string | null,
): Promise<Mentionable> {
  const users = [...new Set(mentions?.users ?? [])];
  const mentionsRoom = mentions?.room === true;
  if (users.length === 0 && !mentionsRoom && replyTo === null) return NOBODY;
  const { roomId, standing } = await requireReader(db, caller, room);
  if (mentionsRoom && standing !== null && !isAllowed(standing, "mention the room"))
    throw new AppError("forbidden", "You may not mention everybody in this room.");
  const found = await findMentionable(db, { tenantId: caller.tenantId, roomId, users, replyTo });
  const byUser = new Map(found.members.map((member) => [member.user, member]));
  const errors = (mentions?.users ?? []).flatMap((user, index): FieldError[] =>
    byUser.has(user) ? [] : [{ path: `mentions.users[${index}]`, message: "is no member of the room" }],
  );
  if (replyTo !== null && found.replied === null)
    errors.push({ path: "replyTo", message: "is no message of the room" });
  if (errors.length > 0) throw new AppError("invalid", "The request is not valid.", { errors });
  return { ...found, members: users.flatMap((user) => byUser.get(user) ?? []) };
}

/** Whom a message mentions, with their names: those whom it names, and whom it answers. */
function namesOf({ members, replied }: Mentionable, caller: Place["caller"]): Map<string, string> {
  const author = replied?.author ?? null;
  const people =
    author === null || (caller.kind === "user" && author.user === caller.user)
      ? members
      : [...members, author];
  return new Map(people.map(({ user, name }) => [user, name]));
}

function composeText(
  { text, format = "plain", mentions }: TextRequest,
  names: Map<string, string>,
): TextContent {
  const html = format === "markdown" ? renderMarkdown(text, names) : renderPlain(text, names);
  const mentionsRoom = mentions?.room === true;
  return {
    text,
    ...(format === "plain" ? {} : { format }),
    ...(html === null ? {} : { html }),
    ...(names.size === 0 && !mentionsRoom
      ? {}
      : { mentions: { users: [...names.keys()], room: mentionsRoom } }),
  };
}

/** Characters that fit in an event however they are written: each takes six bytes at most, and stands in an edit twice. */
const SHORT_LENGTH = 4_000;

/** Mentions stand on Matrix as names, or as they are written where the names have become too long: see `fitEvent`. */
function requireSize(
  content: TextContent,
  names: ReadonlyMap<string, string>,
  { isEdit }: { isEdit: boolean },
): void {
  // Most messages are short and plain: they are not looked at.
  if (content.html === undefined && names.size === 0 && content.text.length < SHORT_LENGTH) return;
  const texts = names.size === 0 ? [content.text] : [content.text, nameMentions(content.text, names)];
  if (texts.some((text) => eventBytes({ ...content, text }, { isEdit }) > MAX_EVENT_BYTES))
    throw new AppError("too_large", "The message is too large for the chat server, with its formatting.");
}
