import { parsePublication } from "../../shared/contract/frames.ts";
import { EMPTY_VIEW, reduce, type RoomView } from "../../shared/contract/reduce.ts";
import type { MessageResource } from "../../shared/contract/resources.ts";
import type { Publication } from "./subscriber.ts";

/** What the client of `user` shows at the end that received these publications: the messages of each room as they are then, a line each. */
export function describeViews(publications: readonly Publication[], user: string): string[][] {
  const views = new Map<string, RoomView>();
  for (const { channel, data } of publications) {
    const event = parsePublication(data);
    if (event !== null) views.set(channel, reduce(views.get(channel) ?? EMPTY_VIEW, event));
  }
  return [...views].map(([channel, view]) =>
    [...view.messages.values()].map((message) => `${channel} ${describeMessage(message, user)}`),
  );
}

function describeMessage({ number, sender, ...message }: MessageResource, user: string): string {
  const name = sender.user ?? sender.displayName ?? "somebody";
  const start = `#${String(number ?? 0)}  ${name}`;
  if (message.deletedAt !== null) {
    const by = message.deletedBy?.user ?? message.deletedBy?.displayName ?? "somebody";
    return `${start}: (deleted by ${by}${message.reason === null ? "" : `: ${message.reason}`})`;
  }
  const { replyTo } = message;
  const answer = replyTo === null ? "" : ` to ${replyTo.sender?.user ?? "somebody"}`;
  const edited = message.editedAt === null ? "" : " (edited)";
  const reactions = message.reactions.map(({ key, count }) => ` ${key} ${String(count)}`).join("");
  const isMentioned = message.mentions.room || message.mentions.users.includes(user);
  const mentioned = isMentioned && sender.user !== user ? " (mentions you)" : "";
  return `${start}${answer}: ${readText(message)}${edited}${mentioned}${reactions}`;
}

const SHOWN_AS: ReadonlyMap<string, string> = new Map([
  ["strong", "*"],
  ["em", "_"],
  ["code", "`"],
]);
const CHARACTERS: ReadonlyMap<string, string> = new Map([
  ["lt", "<"],
  ["gt", ">"],
  ["quot", '"'],
  ["amp", "&"],
]);

/** A message as a terminal shows it: the text of its HTML, which has people's names. */
function readText({ html, text }: Pick<MessageResource, "html" | "text">): string {
  if (html === null) return text;
  return html
    .replace(/<\/?([a-z0-9]+)[^>]*>/g, (_, tag: string) => SHOWN_AS.get(tag) ?? "")
    .replace(/&([a-z]+);/g, (whole, name: string) => CHARACTERS.get(name) ?? whole);
}
