import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ActContent } from "../../shared/contract/content/acts.ts";
import { acquireObserverLeases, type LeasedObserver } from "../../shared/db/observers/observer-lease.ts";
import { Chat } from "../support/chat-model/chat.ts";
import { leastCost } from "../support/costs.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let observer: LeasedObserver & { fence: string };
let rooms = 0;

beforeAll(async () => {
  place = await openWorkplace();
  const [taken] = await acquireObserverLeases(place.db, 1);
  if (!taken) throw new Error("no observer");
  observer = taken;
});
afterAll(() => place.close());

/** A room that is on Matrix, where both people are joined, with so many messages of ada there. */
async function openChat(messages: number): Promise<{ chat: Chat; ids: string[] }> {
  const room = await place.room(`group:costs-${String(++rooms)}`, ["ada", "bob"]);
  // Nothing but messages is due.
  await place.sql(
    "update rooms set matrix_room_id = ?, next_attempt_at = null, members_next_attempt_at = null where id = ?",
    [`!${room.id}`, room.id],
  );
  await place.sql("update sync_positions set lease_until = now() + interval '1 hour'");
  const chat = new Chat(place, observer, room);
  await chat.post("bob", "bob is here");
  const ids: string[] = [];
  for (let index = 0; index < messages; index++)
    ids.push((await chat.post("ada", `message ${String(index)}`)) ?? "");
  await chat.send();
  await chat.receive(chat.matrix.take(1_000, 0));
  return { chat, ids };
}

const act =
  (by: string, content: ActContent) =>
  async (chat: Chat, ids: readonly string[]): Promise<void> => {
    for (const id of ids) await chat.act(by, id, content);
  };
const EDIT: ActContent = {
  ...{ kind: "edit", of: "text", text: "corrected", format: "plain", html: null },
  mentions: { users: [], room: false },
};
const REACTION: ActContent = { kind: "reaction", key: "+" };

/** Of a drain: it takes the lease with the first batch and gives it back; each further batch is one. */
const STATEMENTS = 4;
const SMALLEST_BATCH = 4;

type Row = {
  what: string;
  /** Before it is counted, beside the messages. */
  before?: (chat: Chat, ids: readonly string[]) => Promise<void>;
  accept: (chat: Chat, ids: readonly string[]) => Promise<void>;
  /** Calls of the homeserver for each. */
  calls: number;
  /** Statements of its own: what it needs to know of Matrix is read right before its call. */
  lookUps: number;
};

/** What it costs at most to bring one to Matrix, and many. */
const COSTS: readonly Row[] = [
  {
    what: "a post",
    accept: async (chat, ids) => {
      for (const id of ids) await chat.post("ada", `again ${id}`);
    },
    ...{ calls: 1, lookUps: 0 },
  },
  { what: "an edit", accept: act("ada", EDIT), calls: 1, lookUps: 0 },
  { what: "a reaction", accept: act("bob", REACTION), calls: 1, lookUps: 0 },
  {
    what: "the removal of a reaction",
    before: act("bob", REACTION),
    accept: act("bob", { kind: "unreaction", key: "+" }),
    ...{ calls: 1, lookUps: 1 },
  },
  {
    what: "a deletion",
    accept: act("ada", { kind: "deletion", reason: null }),
    ...{ calls: 1, lookUps: 1 },
  },
  {
    what: "the deletion of a message with an edit",
    before: act("ada", EDIT),
    accept: act("ada", { kind: "deletion", reason: null }),
    ...{ calls: 2, lookUps: 1 },
  },
];

describe.each([1, 50])("%d at a time", (size) => {
  test.each(COSTS)(
    "$what costs $calls calls of the homeserver at most, and $lookUps statements beside those of its batch",
    async (row) => {
      let calls = Infinity;
      const prepare = async () => {
        const { chat, ids } = await openChat(size);
        await row.before?.(chat, ids);
        await chat.send();
        await chat.receive(chat.matrix.take(1_000, 0));
        await row.accept(chat, ids);
        return chat;
      };
      const cost = await leastCost(
        prepare,
        async (chat) => {
          const before = chat.calls;
          await chat.send();
          calls = Math.min(calls, chat.calls - before);
        },
        { runs: 3 },
      );
      process.stdout.write(`cost ${String(size)}: ${row.what}: ${JSON.stringify({ ...cost, calls })}\n`);
      expect(calls).toBeLessThanOrEqual(row.calls * size);
      expect(cost.statements).toBeLessThanOrEqual(STATEMENTS + size / SMALLEST_BATCH + row.lookUps * size);
    },
  );
});
