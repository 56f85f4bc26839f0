import { parsePublication } from "../../shared/contract/frames.ts";
import { EMPTY_VIEW, reduce, type RoomView } from "../../shared/contract/reduce.ts";
import type { MessageResource } from "../../shared/contract/resources.ts";
import type { Publication } from "./subscriber.ts";

/** What a client shows at the end that received these publications: the messages of each room as they are then, a line each. */
export function describeViews(publications: readonly Publication[]): string[] {
  const views = new Map<string, RoomView>();
  for (const { channel, data } of publications) {
    const event = parsePublication(data);
    if (event !== null) views.set(channel, reduce(views.get(channel) ?? EMPTY_VIEW, event));
  }
  return [...views].flatMap(([channel, view]) =>
    [...view.messages.values()].map((message) => `${channel} ${describeMessage(message)}`),
  );
}

function describeMessage({ number, sender, text, ...message }: MessageResource): string {
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
  return `${start}${answer}: ${text}${edited}${reactions}`;
}
