import { z } from "zod";
import { isPruned, readRelation, type MatrixEvent } from "../event.ts";
import { EventType, MsgType, RelationType } from "../names.ts";

const POLLS = ["m.poll.start", "org.matrix.msc3381.poll.start"];
const POLL_FIELDS = ["m.poll", "m.poll.start", "org.matrix.msc3381.poll.start"];

/** Types of events that people see as messages, and that we do not have. */
export const UNSUPPORTED_EVENT_TYPES: readonly string[] = [EventType.Sticker, ...POLLS];

/** What media, and places, are called until there is more of them. */
const NAMES: ReadonlyMap<string, string> = new Map([
  [MsgType.Image, "Image"],
  [MsgType.File, "File"],
  [MsgType.Audio, "Audio"],
  [MsgType.Video, "Video"],
  [MsgType.Location, "Location"],
]);

/** Messages by which devices talk to each other: people do not see them. */
const HIDDEN_PREFIXES = ["m.key.verification.", "m.bad.encrypted"];
const MAX_BODY_LENGTH = 1_000;

/** What an event is, in words for people; null for one that is not to be seen. */
export function describeUnsupported(event: MatrixEvent): string | null {
  if (event.state_key !== undefined || isPruned(event)) return null;
  // An edit of what we show as a notice changes nothing here.
  if (readRelation(event)?.type === RelationType.Replace) return null;
  const body = readText(event.content["body"]);
  if (event.type === EventType.Sticker) return named("Sticker", body);
  if (POLLS.includes(event.type)) return named("Poll", readQuestion(event.content) ?? body);
  const msgtype = event.content["msgtype"];
  if (event.type !== EventType.RoomMessage || typeof msgtype !== "string") return null;
  if (READ_ELSEWHERE.has(msgtype) || HIDDEN_PREFIXES.some((prefix) => msgtype.startsWith(prefix)))
    return null;
  return named(NAMES.get(msgtype) ?? "Unsupported message", body);
}

const READ_ELSEWHERE: ReadonlySet<string> = new Set([MsgType.Text, MsgType.Notice, MsgType.Emote]);
function named(what: string, body: string | null): string {
  return body === null ? what : `${what}: ${body}`;
}

function readText(value: unknown): string | null {
  if (typeof value !== "string" || value.trim() === "") return null;
  return value.trim().slice(0, MAX_BODY_LENGTH);
}

/** A poll names its question as a text, or as texts in several formats. */
const question = z.object({
  question: z.object({
    body: z.string().optional(),
    "org.matrix.msc1767.text": z.string().optional(),
    "m.text": z.union([z.string(), z.array(z.object({ body: z.string() }))]).optional(),
  }),
});

function readQuestion(content: MatrixEvent["content"]): string | null {
  for (const field of POLL_FIELDS) {
    const parsed = question.safeParse(content[field]);
    if (!parsed.success) continue;
    const { body, "org.matrix.msc1767.text": draft, "m.text": stable } = parsed.data.question;
    return readText(typeof stable === "string" ? stable : (stable?.[0]?.body ?? draft ?? body));
  }
  return null;
}
