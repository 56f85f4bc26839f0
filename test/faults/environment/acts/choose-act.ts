import type { Post } from "./post.ts";
import type { Random } from "../random.ts";

/** An act that a person carried out; `id` is null until it was accepted, and for one that changed nothing. */
export type Act = { room: string; what: string; isAccepted: boolean; id: string | null };

export type ActRequest = { method: string; path: string; body?: unknown };

/** One of so many posts is followed by an act on an earlier one. */
export const POSTS_PER_ACT = 4;

const KEYS = ["+", "-"] as const;
/** How many of the newest messages of a room people act on. */
const NEWEST = 30;

/**
 * What somebody does next to an earlier message of a room: half of it reactions, a few deletions. Null when there is no message yet.
 * Every request may be repeated: it says what is to be, and an edit has a client id.
 */
export function chooseAct(
  posts: readonly Post[],
  { room, people, random, name }: { room: string; people: readonly string[]; random: Random; name: string },
): { person: string; what: string; request: ActRequest } | null {
  const known = posts.filter((post) => post.room === room && post.id !== null).slice(-NEWEST);
  if (known.length === 0) return null;
  const { id, person: author } = random.pick(known);
  const path = `/v1/rooms/${room.replace(":", "/")}/messages/${id ?? ""}`;
  const reactionPath = `${path}/reactions/${encodeURIComponent(random.pick(KEYS))}`;
  switch (random.pick(["edit", "edit", "edit", "react", "react", "react", "unreact", "delete"] as const)) {
    case "edit": {
      const body = { text: `edited ${name}`, clientId: name };
      return { person: author, what: "edit", request: { method: "PATCH", path, body } };
    }
    case "react":
      return {
        person: random.pick(people),
        what: "reaction",
        request: { method: "PUT", path: reactionPath },
      };
    case "unreact":
      return {
        person: random.pick(people),
        what: "removal",
        request: { method: "DELETE", path: reactionPath },
      };
    case "delete":
      return { person: author, what: "deletion", request: { method: "DELETE", path } };
  }
}
