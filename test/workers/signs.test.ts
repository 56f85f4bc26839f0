import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { Person } from "../../shared/contract/resources.ts";
import { readUpTo } from "../../shared/db/memberships/signs/positions.ts";
import { upsertMembers } from "../../shared/db/memberships/memberships.ts";
import { acquireObserverLeases, type LeasedObserver } from "../../shared/db/observers/observer-lease.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { ensureUsers } from "../../shared/db/users/users.ts";
import { SIGNS_DUE_KEY, TYPING_DUE_KEY } from "../../shared/platform/redis-keys.ts";
import { publishRooms } from "../../shared/timeline/publish.ts";
import { publishReceipts } from "../../shared/timeline/signs/receipts.ts";
import { receiptsOf } from "../../shared/timeline/signs/publish-unread.ts";
import { setTyping } from "../../shared/timeline/signs/typing.ts";
import { runObserver } from "../../workers/inbound/observers/observer-loop.ts";
import { readSigns, type RoomSigns } from "../../workers/matrix/sync/signs.ts";
import { hasSignsAlone } from "../../workers/signs/observer-signs.ts";
import { receiveSigns } from "../../workers/signs/receive-signs.ts";
import { sendSignsOnce } from "../../workers/signs/send-signs.ts";
import { createSignReceiver } from "../../workers/signs/sign-receiver.ts";
import { countRows } from "../support/api.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { listenTo, typistsIn, type LiveChannel } from "../support/live-channel.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { until } from "../support/wait.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let observer: LeasedObserver;
let fence: string;
let room: Room;
let channel: LiveChannel;
let ada: { id: string; matrixUserId: string };
let bob: { id: string; matrixUserId: string };
let count = 0;

beforeAll(async () => {
  place = await openWorkplace();
  const [taken] = await acquireObserverLeases(place.db, 1);
  if (!taken) throw new Error("no observer");
  observer = taken;
  fence = taken.fence;
});
beforeEach(async () => {
  // Nothing is left of other tests.
  await place.redis.del(SIGNS_DUE_KEY, TYPING_DUE_KEY);
  homeserver = new FakeHomeserver();
  room = await place.room(`group:signs-${++count}`, ["ada", "bob"]);
  await place.sql("update rooms set matrix_room_id = ?, member_count = 2 where id = ?", [
    `!${room.id}`,
    room.id,
  ]);
  [ada, bob] = await Promise.all([account("ada"), account("bob")]);
  await place.sql("update memberships set applied = 'in' where room_id = ? and user_id = ?", [
    room.id,
    ada.id,
  ]);
  channel = await listenTo(place.redis, room.id, [ada.id, bob.id]);
});
afterEach(() => {
  channel.close();
});
afterAll(() => place.close());

async function account(user: string): Promise<{ id: string; matrixUserId: string }> {
  const id = await place.userId(user);
  const [row] = await place.sql<{ matrix_user_id: string }>("select matrix_user_id from users where id = ?", [
    id,
  ]);
  return { id, matrixUserId: row?.matrix_user_id ?? "" };
}

function personOf(user: string, { id }: { id: string }): Person {
  return { ref: id, user, displayName: null, avatar: null };
}

function type(user: string, of: { id: string }, isTyping = true): Promise<void> {
  const place_ = { kind: room.kind, slug: room.slug, room_id: room.id, member_count: 2 };
  return setTyping(place.redis, place_, { person: personOf(user, of), isTyping });
}

function fromMatrix(signs: Partial<RoomSigns>): Promise<void> {
  const reader = {
    observerId: observer.observer_id,
    tenantId: observer.tenant_id,
    matrixUserId: observer.matrix_user_id,
  };
  const given = { matrixRoomId: `!${room.id}`, typing: null, receipts: [], ...signs };
  return receiveSigns(place.context(homeserver), reader, [given], () => Promise.resolve("Mallory M."));
}

const send = () => sendSignsOnce(place.context(homeserver));
const lists = () => typistsIn(channel, room);

async function read(of: { id: string }, number: number): Promise<void> {
  const position = await readUpTo(place.db, { roomId: room.id, userId: of.id, number });
  if (position) await publishReceipts(place.redis, receiptsOf([position], { isForMatrix: true }));
}

function receiptsIn(): [string | null, number][] {
  return channel.published.flatMap((event) =>
    event.type === "receipt" ? [[event.user.user, event.number]] : [],
  );
}

describe("signs of ours on Matrix", () => {
  test("a person who is joined there is shown to type, and one who is not makes no call and no join", async () => {
    const rows = await countRows(place.db);
    await type("ada", ada);
    await type("bob", bob);
    await send();
    expect(homeserver.calls).toEqual([
      expect.objectContaining({
        as: ada.matrixUserId,
        method: "PUT",
        path: expect.stringMatching(/\/typing\//) as unknown,
        body: { typing: true, timeout: 12_000 },
      }),
    ]);
    expect(homeserver.accounts.size).toBe(0);
    expect(await countRows(place.db)).toEqual(rows);
  });

  test("a person's signs in one room go there at most once in 4 s, and the last one goes then", async () => {
    await type("ada", ada);
    await send();
    await type("ada", ada);
    await type("ada", ada, false);
    await send();
    expect(homeserver.calls).toHaveLength(1);
    const dueInMs = Number(await place.redis.zscore(SIGNS_DUE_KEY, room.id)) - Date.now();
    expect(dueInMs).toBeGreaterThan(2_000);
    expect(dueInMs).toBeLessThanOrEqual(4_000);
    await place.redis.zadd(SIGNS_DUE_KEY, 0, room.id);
    await until(
      async () => {
        await send();
        return homeserver.calls.length > 1;
      },
      "the last sign was sent",
      10_000,
    );
    expect(homeserver.calls.map(({ body }) => body["typing"])).toEqual([true, false]);
  });

  test("a receipt names the event of the last entry up to the number that has one", async () => {
    const [first] = await place.accept(room, "bob", "one", "two");
    await place.sql("update messages set event_id = '$one' where id = ?", [first?.id]);
    await read(ada, 2);
    await send();
    expect(homeserver.calls).toEqual([
      expect.objectContaining({
        as: ada.matrixUserId,
        method: "POST",
        path: `/rooms/${encodeURIComponent(`!${room.id}`)}/receipt/m.read/${encodeURIComponent("$one")}`,
        body: { thread_id: "main" },
      }),
    ]);
  });

  test("a call that fails is dropped, and the next sign is sent", async () => {
    homeserver.refuse(/\/typing\//, "transient");
    await type("ada", ada);
    await send();
    await until(
      async () => {
        await type("ada", ada, false);
        await type("ada", ada);
        await send();
        return homeserver.calls.length > 1;
      },
      "the next sign was sent",
      10_000,
    );
    expect(homeserver.calls).toHaveLength(2);
  });
});

describe("who is typing", () => {
  test("the whole list is published when it changes, and a repeated sign publishes nothing", async () => {
    await type("ada", ada);
    await type("ada", ada);
    await type("bob", bob);
    await type("ada", ada, false);
    await type("ada", ada, false);
    await type("bob", bob, false);
    await until(() => lists().length === 4, "four lists were published");
    expect(lists()).toEqual([["ada"], ["ada", "bob"], ["bob"], []]);
  });

  test("a person's next message ends that the person types, here and on Matrix", async () => {
    await type("ada", ada);
    await type("bob", bob);
    await place.accept(room, "ada", "done");
    await publishRooms(place, [room.id]);
    await until(() => channel.published.some(({ type: name }) => name === "message.created"), "it came");
    expect(lists()).toEqual([["ada"], ["ada", "bob"], ["bob"]]);
    await send();
    expect(homeserver.calls.map(({ body }) => body["typing"])).toEqual([false]);
  });

  test("a person who says nothing more is taken off the list after 8 s", async () => {
    await type("ada", ada);
    const beganAt = Date.now();
    await until(
      async () => {
        await send();
        return lists().length === 2;
      },
      "the end was published",
      15_000,
    );
    expect(lists()).toEqual([["ada"], []]);
    expect(Date.now() - beganAt).toBeGreaterThan(7_500);
  }, 20_000);

  test("Matrix's list replaces what Matrix said before, beside those who type here", async () => {
    await type("bob", bob);
    await fromMatrix({ typing: [ada.matrixUserId, "@mallory:test", observer.matrix_user_id] });
    await fromMatrix({ typing: ["@mallory:test"] });
    await fromMatrix({ typing: [] });
    await until(() => lists().length === 4, "four lists were published");
    expect(lists().map((list) => list.toSorted())).toEqual([
      ["bob"],
      ["Mallory M.", "ada", "bob"],
      ["Mallory M.", "bob"],
      ["bob"],
    ]);
    expect(JSON.stringify(channel.published)).not.toContain("@mallory");
  });

  test("a sign of ours that comes back from Matrix does not outlive its person's message", async () => {
    await type("ada", ada);
    await send();
    await fromMatrix({ typing: [ada.matrixUserId] });
    await type("ada", ada, false);
    await until(() => lists().length === 2, "the end was published");
    expect(lists()).toEqual([["ada"], []]);
  });

  test("a guest on Matrix, and a person of no room of ours, is not shown", async () => {
    await upsertMembers(place.db, place.tenantId, room.id, [{ userId: bob.id, role: "guest" }]);
    await fromMatrix({ typing: [bob.matrixUserId] });
    await fromMatrix({ matrixRoomId: "!elsewhere:test", typing: [ada.matrixUserId] });
    await type("ada", ada);
    await until(() => lists().length === 1, "a list was published");
    expect(lists()).toEqual([["ada"]]);
  });

  test("a list in a room of more than 100 members shows three people", async () => {
    const names = ["ann", "ben", "cid", "dee", "eve"];
    const users = await ensureUsers(place.db, place.tenantId, names);
    for (const name of names) {
      const id = users.get(name)?.id ?? "";
      const big = { kind: room.kind, slug: room.slug, room_id: room.id, member_count: 101 };
      await setTyping(place.redis, big, { person: personOf(name, { id }), isTyping: true });
    }
    await until(() => lists().length === 3, "three lists were published");
    expect(lists().at(-1)).toHaveLength(3);
  });
});

describe("receipts from Matrix", () => {
  const eventOf = async (text: string) => {
    const [message] = await place.accept(room, "bob", text);
    await place.sql("update messages set event_id = ?, seen_event_id = ? where id = ?", [
      ...[`$${text}-${count}`, `$${text}-${count}`],
      message?.id,
    ]);
    return `$${text}-${count}`;
  };
  const receipt = (eventId: string, matrixUserId = ada.matrixUserId) => ({
    receipts: [{ matrixUserId, eventId }],
  });

  test("a receipt moves the person's position, and others receive it once", async () => {
    const first = await eventOf("one");
    await eventOf("two");
    await fromMatrix(receipt(first));
    await fromMatrix(receipt(first));
    await until(() => receiptsIn().length > 0, "a receipt was published");
    expect(receiptsIn()).toEqual([["ada", 1]]);
    const unread = channel.published.filter(({ type: name }) => name === "unread");
    expect(unread).toEqual([expect.objectContaining({ unread: 1, mentions: 0, firstUnread: 2 })]);
  });

  test("a receipt for an event that is no entry means the newest entry", async () => {
    await eventOf("one");
    await eventOf("two");
    await fromMatrix(receipt("$a-reaction"));
    await until(() => receiptsIn().length > 0, "a receipt was published");
    expect(receiptsIn()).toEqual([["ada", 2]]);
  });

  test("a receipt of ours that comes back does not undo that messages are marked as unread", async () => {
    const first = await eventOf("one");
    await read(ada, 1);
    await place.sql(
      "update memberships set read_number = 0, read_count = 0 where room_id = ? and user_id = ?",
      [room.id, ada.id],
    );
    await fromMatrix(receipt(first));
    const [row] = await place.sql(
      "select read_number, receipt_number from memberships where room_id = ? and user_id = ?",
      [room.id, ada.id],
    );
    expect(row).toEqual({ read_number: 0, receipt_number: 1 });
  });

  test("nobody receives a receipt of a guest, or one in a room of more than 100 members", async () => {
    const first = await eventOf("one");
    await place.sql("update rooms set member_count = 101 where id = ?", [room.id]);
    await fromMatrix(receipt(first));
    await upsertMembers(place.db, place.tenantId, room.id, [{ userId: ada.id, role: "guest" }]);
    await place.sql("update rooms set member_count = 2 where id = ?", [room.id]);
    const second = await eventOf("two");
    await fromMatrix(receipt(second));
    await type("bob", bob);
    await until(() => lists().length > 0, "a later sign was published");
    expect(receiptsIn()).toEqual([]);
  });
});

test("an observer that reads signs alone takes each over, and saves its position once a second at most", async () => {
  await place.sql("update sync_positions set since = 's1', lease_until = now() + interval '1 hour'");
  homeserver.answer(/\/joined_rooms$/, { joined_rooms: [`!${room.id}`] }, { isKept: true });
  const response = (next: string, typing: string[]) => ({
    next_batch: next,
    rooms: {
      join: {
        [`!${room.id}`]: { ephemeral: { events: [{ type: "m.typing", content: { user_ids: typing } }] } },
      },
    },
  });
  homeserver.answer(/\/sync$/, response("s2", [bob.matrixUserId]));
  homeserver.answer(/\/sync$/, response("s3", [bob.matrixUserId, ada.matrixUserId]));
  homeserver.answer(/\/sync$/, response("s4", []), { isKept: true });
  const stop = new AbortController();
  let rounds = 0;
  const run = {
    ...{ observer: { ...observer, since: "s1" }, fence, signal: stop.signal },
    ...{
      known: new Map<string, string>(),
      reading: { fromStream: false, isConfirmed: true, roomsComparedAtMs: null },
    },
  };
  await runObserver(place.context(homeserver), run, () => {
    if (++rounds === 3) stop.abort();
  });
  await until(() => lists().at(-1)?.length === 0, "the last list came");
  expect(lists()[0]).toEqual(["bob"]);
  expect(await place.sql("select since from sync_positions")).toEqual([{ since: "s2" }]);
});

describe("what a homeserver returns", () => {
  test("receipts of a thread and private ones are left out, and malformed signs too", () => {
    const receipts = {
      type: "m.receipt",
      content: {
        $a: {
          "m.read": {
            "@ada:t": { ts: 1 },
            "@bob:t": { thread_id: "$root" },
            "@cid:t": { thread_id: "main" },
          },
        },
        $b: { "m.read.private": { "@ada:t": {} } },
        $c: "malformed",
      },
    };
    const typing = { type: "m.typing", content: { user_ids: ["@ada:t"] } };
    expect(readSigns("!r", [receipts, typing, { type: "m.typing", content: {} }, 7])).toEqual({
      matrixRoomId: "!r",
      typing: ["@ada:t"],
      receipts: [
        { matrixUserId: "@ada:t", eventId: "$a" },
        { matrixUserId: "@cid:t", eventId: "$a" },
      ],
    });
    expect(readSigns("!r", [{ type: "m.presence", content: {} }])).toBeNull();
  });

  test("a response with signs alone is told from one with history", () => {
    const signs = [{ matrixRoomId: "!r", typing: [], receipts: [] }];
    expect(hasSignsAlone({ next_batch: "s1", rooms: { join: {}, leave: {} }, signs })).toBe(true);
    expect(hasSignsAlone({ next_batch: "s1", signs: [] })).toBe(false);
    expect(hasSignsAlone({ next_batch: "s1", rooms: { join: {}, leave: { "!r": {} } }, signs })).toBe(false);
    const timeline = { events: [], limited: true };
    expect(
      hasSignsAlone({ next_batch: "s1", rooms: { join: { "!r": { timeline } }, leave: {} }, signs }),
    ).toBe(false);
  });

  test("signs that come while others are taken over are joined: the last list, and all receipts", async () => {
    const taken: RoomSigns[][] = [];
    let goOn = (): void => undefined;
    const receiver = createSignReceiver(
      async (signs) => {
        taken.push(signs);
        if (taken.length === 1) await new Promise<void>((resolve) => (goOn = resolve));
      },
      () => undefined,
    );
    const receipt = (eventId: string) => ({ matrixUserId: "@ada:t", eventId });
    receiver.add([{ matrixRoomId: "!r", typing: ["@ada:t"], receipts: [] }]);
    receiver.add([{ matrixRoomId: "!r", typing: ["@bob:t"], receipts: [receipt("$a")] }]);
    receiver.add([{ matrixRoomId: "!r", typing: null, receipts: [receipt("$b")] }]);
    goOn();
    await receiver.drain();
    expect(taken).toEqual([
      [{ matrixRoomId: "!r", typing: ["@ada:t"], receipts: [] }],
      [{ matrixRoomId: "!r", typing: ["@bob:t"], receipts: [receipt("$a"), receipt("$b")] }],
    ]);
  });
});
