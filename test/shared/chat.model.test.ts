import { afterAll, beforeAll, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { Publication } from "../../shared/contract/frames.ts";
import type { MessageResource } from "../../shared/contract/resources.ts";
import { acquireObserverLeases, type LeasedObserver } from "../../shared/db/observers/observer-lease.ts";
import { listEntriesAfter } from "../../shared/db/timeline/pages.ts";
import { presentEntry } from "../../shared/timeline/read.ts";
import { Chat } from "../support/chat-model/chat.ts";
import type { Shown } from "../support/chat-model/model.ts";
import { Play } from "../support/chat-model/play.ts";
import { findDifference, numberOf } from "../support/chat-model/replay.ts";
import { describeSchedule, schedule, WRITERS, type Step } from "../support/chat-model/schedule.ts";
import { listenTo } from "../support/live-channel.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { until } from "../support/wait.ts";

/** How many schedules, and of which seed: a failure prints the seed, and the path to its smallest schedule. */
const RUNS = Number(process.env["FC_RUNS"] ?? 40);
const SEED = Number(process.env["FC_SEED"] ?? Date.now() % 2 ** 31);
const PATH = process.env["FC_PATH"];

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

async function openChat(): Promise<Chat> {
  const room = await place.room(`group:model-${String(++rooms)}`, WRITERS);
  const moderator = await place.room(`group:model-${String(rooms)}`, ["mia"], "moderator");
  expect(moderator.id).toBe(room.id);
  await place.sql("update rooms set matrix_room_id = ? where id = ?", [`!${room.id}`, room.id]);
  await place.sql("update sync_positions set lease_until = now() + interval '1 hour'");
  return new Chat(place, observer, room);
}

const show = ({ text, deletedAt, reactions }: MessageResource): Shown =>
  deletedAt !== null
    ? "deleted"
    : { text, reactions: Object.fromEntries(reactions.map(({ key, count }) => [key, count])) };

/** What was deleted before anybody here could see it need not stand here. */
function expectModelled(items: readonly MessageResource[], { model, messages }: Play): void {
  const shown = new Map(items.map((item) => [item.id, show(item)]));
  const wanted = messages.flatMap(({ id, isOurs }): [string, Shown][] => {
    const final = model.shown(id);
    return final === "deleted" && !isOurs && !shown.has(id) ? [] : [[id, final]];
  });
  expect(Object.fromEntries(shown)).toEqual(Object.fromEntries(wanted));
}

/** Counted one by one. */
async function expectUnread(
  chat: Chat,
  items: readonly MessageResource[],
  { positions }: Play,
): Promise<void> {
  for (const user of WRITERS) {
    const position = positions.get(user);
    const found = await chat.readUpTo(user, 0);
    const unread = items.filter(
      ({ number, sender, deletedAt }) =>
        (number ?? 0) > (position ?? 0) && sender.user !== user && deletedAt === null,
    );
    const wanted = { unread: unread.length, first_unread: unread[0]?.number ?? null, read_number: position };
    if (position === undefined) expect(found).toBeUndefined();
    else expect({ user, ...found }).toMatchObject({ user, ...wanted });
  }
}

/** What a socket delivers: a stream that begins again repeats entries, which have the numbers of earlier ones. */
function continued(published: readonly Publication[]): Publication[] {
  let last = 0;
  return published.filter((event) => {
    if (numberOf(event) <= last) return false;
    last = numberOf(event);
    return true;
  });
}

async function run(steps: readonly Step[]): Promise<void> {
  const chat = await openChat();
  const live = await listenTo(place.redis, chat.room.id);
  try {
    const played = new Play(chat);
    await played.play(steps);
    const { number, items } = played.snapshots.at(-1) ?? { number: 0, items: [] };
    await until(
      () => live.published.some((event) => numberOf(event) === number),
      `${String(number)} is published`,
    );
    const published = continued(live.published);
    expect(published.map(numberOf)).toEqual(Array.from({ length: number }, (_, index) => index + 1));
    const bounds = { roomId: chat.room.id, position: 0, lastNumber: number };
    const stored = (await listEntriesAfter(place.db, bounds, number)).map(presentEntry);
    expectModelled(items, played);
    await expectUnread(chat, items, played);
    expect(findDifference(played.snapshots, { published, stored })).toBeNull();
  } finally {
    live.close();
  }
}

test(
  "any schedule of posts and acts, here and on Matrix, ends as the model says, for pages, replays and what is unread",
  async () => {
    process.stdout.write(`model: FC_SEED=${String(SEED)} FC_RUNS=${String(RUNS)}\n`);
    const property = fc.asyncProperty(schedule, async (steps) => {
      try {
        await run(steps);
      } catch (error) {
        throw new Error(`${describeSchedule(steps)}\n${(error as Error).message}`, { cause: error });
      }
    });
    await fc.assert(property, {
      ...{ seed: SEED, numRuns: RUNS, endOnFailure: false, interruptAfterTimeLimit: RUNS * 3_000 },
      ...(PATH === undefined ? {} : { path: PATH }),
    });
  },
  60_000 + RUNS * 4_000,
);
