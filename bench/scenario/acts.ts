import { createRest, type PostMore } from "../rest.ts";
import type { DemoStack } from "../stack.ts";
import type { AcceptedMessage } from "./checker.ts";
import type { Room } from "./fixtures.ts";

/** `answers`: the index of a post before it. */
type Post = { user: string; text: string; answers?: number } & Omit<PostMore, "replyTo">;
type Act = {
  user: string;
  on: number;
  type: string;
  key?: string;
  method: "PATCH" | "PUT" | "DELETE";
  path: string;
  body?: unknown;
};

const POSTS: readonly Post[] = [
  { user: "bob", text: "I bring two boards." },
  { user: "cyd", text: "Doors open at sevn." },
  { user: "dee", text: "BUY CHEAP WATCHES" },
  { user: "ada", text: "@eli, can you bring a clock?", mentions: { users: ["eli"] } },
  { user: "eli", text: "Yes, the digital one.", answers: 3 },
  { user: "bob", text: "Tonight: **blitz**, then `chess960`.", format: "markdown" },
];

const react = (user: string, on: number, key: string): Act => ({
  ...{ user, on, key, type: "reaction.added", method: "PUT" },
  path: `/reactions/${encodeURIComponent(key)}`,
});

/** What the members of the group do with the posts, in this order. */
const ACTS: readonly Act[] = [
  react("cyd", 0, "👍"),
  react("eli", 0, "👍"),
  react("eli", 0, "♟"),
  { ...react("eli", 0, "♟"), type: "reaction.removed", method: "DELETE" },
  {
    user: "cyd",
    on: 1,
    type: "message.edited",
    method: "PATCH",
    path: "",
    body: { text: "Doors open at seven." },
  },
  { user: "bob", on: 2, type: "message.deleted", method: "DELETE", path: "?reason=advertisement" },
];

/**
 * Members of a room write, correct, react and delete, one after the other. Returns what was accepted, in its order: posts by their
 * ids, acts as `actId` names them.
 */
export async function runActs(
  stack: DemoStack,
  { room, tokens }: { room: Room; tokens: ReadonlyMap<string, string> },
): Promise<AcceptedMessage[]> {
  const accepted: AcceptedMessage[] = [];
  const restOf = (user: string) => createRest(stack.apiUrl, tokens.get(user) ?? "");
  const accept = async <T>(work: () => Promise<T>, idOf: (result: T) => string): Promise<T> => {
    const askedAtMs = performance.now();
    const result = await work();
    accepted.push({ id: idOf(result), room: room.key, askedAtMs, acceptedAtMs: performance.now() });
    return result;
  };
  const posts: string[] = [];
  for (const [index, { user, text, answers, ...more }] of POSTS.entries()) {
    const clientId = `demo-act-${String(index)}-${room.key}`;
    const replyTo = answers === undefined ? undefined : posts[answers];
    const { id } = await accept(
      () => restOf(user).post(room.key, text, clientId, replyTo === undefined ? more : { ...more, replyTo }),
      (message) => message.id,
    );
    posts.push(id);
  }
  for (const { user, on, type, key, method, path, body } of ACTS) {
    const id = posts[on] ?? "";
    await accept(
      () => restOf(user).act(method, { room: room.key, id }, path, body),
      () => actId({ type, message: id, key, user }),
    );
  }
  return accepted;
}

/** Names an act among those of the demo, in which nobody does the same twice. */
export function actId(act: {
  type: string;
  message: string;
  key?: string | undefined;
  user: string;
}): string {
  const { type, message, key = "", user } = act;
  return [type, message, key, user].join(" ");
}
