import { parsePublication } from "../../shared/contract/frames.ts";
import type { Person } from "../../shared/contract/resources.ts";
import { actId } from "./acts.ts";
import type { Publication } from "./subscriber.ts";

/** A message, or an act on one, as a socket received it. `id`: the message's id, or that of the act as `actId` names it. */
export type ReceivedEntry = { id: string; channel: string; message: string; key: string };

/** Null for any other publication. */
export function receivedIn({ channel, data }: Publication): ReceivedEntry | null {
  const event = parsePublication(data);
  switch (event?.type) {
    case "message.created":
      return { id: event.id, channel, message: event.id, key: "" };
    case "message.edited":
      return entry(channel, event, event.message.id);
    case "message.deleted":
      return entry(channel, event, event.message);
    case "reaction.added":
    case "reaction.removed":
      return entry(channel, event, event.message, event.key);
    default:
      return null;
  }
}

function entry(
  channel: string,
  { type, by }: { type: string; by: Person },
  message: string,
  key = "",
): ReceivedEntry {
  return { id: actId({ type, message, key, user: by.user ?? "" }), channel, message, key };
}
