import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { Redis } from "ioredis";
import pg from "pg";
import type { Publication } from "../../shared/contract/frames.ts";
import { newId } from "../../shared/platform/ids.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { countRows, openApiWorld, type ApiWorld, type Ask, type TestTenant } from "../support/api.ts";
import { listenTo, type LiveChannel } from "../support/live-channel.ts";
import { until } from "../support/wait.ts";

let world: ApiWorld;
let tenant: TestTenant;
let ada: Ask;
let bob: Ask;
let rooms = 0;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("unread");
  ada = await tenant.user("ada");
  bob = await tenant.user("bob");
});
afterAll(() => world.close());

type Member = { user: string; role?: string };
type TestRoom = { key: string; path: string; id: string; channel: LiveChannel };

const PAIR: Member[] = [{ user: "ada" }, { user: "bob" }];

/** A room, and what is published in it and to its first two members. */
async function inRoom(members: readonly Member[], run: (room: TestRoom) => Promise<void>): Promise<void> {
  const slug = `unread-${++rooms}`;
  const path = `/v1/rooms/group/${slug}`;
  await tenant.server("PUT", path, { body: { name: slug, members } });
  const id = await firstValue("select id as value from rooms where slug = ?", [slug]);
  const userIds = await Promise.all(members.slice(0, 2).map(({ user }) => userId(user)));
  const channel = await listenTo(world.redis, id, userIds);
  try {
    await run({ key: `group:${slug}`, path, id, channel });
  } finally {
    channel.close();
  }
}

async function firstValue(sql: string, bindings: string[]): Promise<string> {
  const { rows } = await world.db.raw<{ rows: { value: string }[] }>(sql, bindings);
  return rows[0]?.value ?? "";
}

const userId = (user: string) =>
  firstValue("select id as value from users where tenant_id = ? and external_id = ?", [tenant.row.id, user]);

async function say(as: Ask, room: TestRoom, ...texts: string[]): Promise<number[]> {
  const numbers: number[] = [];
  for (const text of texts) {
    const { body } = await as("POST", `${room.path}/messages`, { body: { text } });
    numbers.push((body as { number: number }).number);
  }
  return numbers;
}

type Position = {
  room: string;
  number: number;
  unread: number;
  mentions: number;
  firstUnread: number | null;
};

async function put(as: Ask, room: TestRoom, what: "read" | "unread", number: number): Promise<Position> {
  const { status, body } = await as("PUT", `${room.path}/${what}`, { body: { number } });
  expect(status).toBe(200);
  return body as Position;
}

async function unreadIn(as: Ask, room: TestRoom): Promise<number | undefined> {
  const { body } = await as("GET", "/v1/me/rooms");
  const { items } = body as { items: { room: string; unread: number }[] };
  return items.find((item) => item.room === room.key)?.unread;
}

function published<T extends Publication["type"]>(
  room: TestRoom,
  type: T,
): Extract<Publication, { type: T }>[] {
  return room.channel.published.filter(
    (event): event is Extract<Publication, { type: T }> => event.type === type,
  );
}

test("a person reads up to a message, and what is above it stays unread", () =>
  inRoom(PAIR, async (room) => {
    const [first = 0, second = 0, third = 0] = await say(bob, room, "one", "two", "three");
    expect(await unreadIn(ada, room)).toBe(3);
    expect(await put(ada, room, "read", first)).toEqual({
      ...{ room: room.key, number: first, unread: 2 },
      ...{ mentions: 0, firstUnread: second },
    });
    expect(await put(ada, room, "read", 0)).toMatchObject({ number: first, unread: 2 });
    expect(await put(ada, room, "read", 999_999)).toMatchObject({
      number: third,
      unread: 0,
      firstUnread: null,
    });
    expect(await unreadIn(ada, room)).toBe(0);
    expect(await unreadIn(bob, room)).toBe(0);
  }));

test("a person who posts has read everything before, and others have one more unread message", () =>
  inRoom(PAIR, async (room) => {
    await say(bob, room, "one", "two");
    await say(ada, room, "three");
    expect(await unreadIn(ada, room)).toBe(0);
    expect(await unreadIn(bob, room)).toBe(1);
  }));

test("messages that are marked as unread leave out one's own, and reading on leaves out those above too", () =>
  inRoom(PAIR, async (room) => {
    const [, second = 0] = await say(bob, room, "one", "two");
    const [mine = 0] = await say(ada, room, "mine");
    const [fourth = 0, fifth = 0] = await say(bob, room, "four", "five");
    await put(ada, room, "read", fifth);
    expect(await put(ada, room, "unread", second)).toMatchObject({
      ...{ number: second - 1, unread: 3, firstUnread: second },
    });
    expect(await put(ada, room, "read", second)).toMatchObject({ unread: 2, firstUnread: fourth });
    expect(await put(ada, room, "read", mine)).toMatchObject({ unread: 2, firstUnread: fourth });
    expect(await put(ada, room, "read", fourth)).toMatchObject({ unread: 1, firstUnread: fifth });
    await say(ada, room, "mine again");
    expect(await unreadIn(ada, room)).toBe(0);
  }));

test("a receipt never moves back, and is published once, with the number that was read", () =>
  inRoom(PAIR, async (room) => {
    const [first = 0, second = 0] = await say(bob, room, "one", "two");
    await put(ada, room, "read", second);
    await put(ada, room, "unread", first);
    await put(ada, room, "read", first);
    const { body } = await bob("GET", `${room.path}/receipts`);
    expect(body).toEqual({
      items: [
        {
          user: { ref: await userId("ada"), user: "ada", displayName: null, avatar: null },
          number: second,
        },
        { user: expect.objectContaining({ user: "bob" }) as unknown, number: second },
      ],
    });
    await put(bob, room, "read", 999_999);
    await until(() => published(room, "unread").length >= 3, "positions were published");
    expect(published(room, "receipt").map(({ user, number }) => [user.user, number])).toEqual([
      ["ada", second],
    ]);
  }));

test("what is unread is published to the person's own devices, with the total of all rooms", async () => {
  await inRoom([{ user: "cleo" }, { user: "bob" }], async (other) => {
    const cleo = await tenant.user("cleo");
    await say(bob, other, "elsewhere");
    await inRoom([{ user: "cleo" }, { user: "bob" }], async (room) => {
      const [first = 0, second = 0] = await say(bob, room, "one", "two");
      await put(cleo, room, "read", first);
      await until(() => published(room, "unread").length > 0, "it was published");
      expect(published(room, "unread")).toEqual([
        {
          type: "unread",
          ...{ room: room.key, unread: 1, mentions: 0, firstUnread: second },
          total: { unread: 2, mentions: 0 },
        },
      ]);
      expect(await cleo("GET", "/v1/me/unread")).toMatchObject({
        status: 200,
        body: { unread: 2, mentions: 0, rooms: 2 },
      });
    });
  });
});

test("a muted room, and one of which a person wants nothing, count in no total", async () => {
  await inRoom([{ user: "dan" }, { user: "bob" }], async (room) => {
    const dan = await tenant.user("dan");
    await say(bob, room, "one");
    const total = async () => (await dan("GET", "/v1/me/unread")).body;
    const set = (columns: string) =>
      world.db.raw(
        `update memberships set ${columns} where room_id = ? and user_id = (select id from users where external_id = 'dan')`,
        [room.id],
      );
    expect(await total()).toEqual({ unread: 1, mentions: 0, rooms: 1 });
    await set("muted_until = now() + interval '1 hour'");
    expect(await total()).toEqual({ unread: 0, mentions: 0, rooms: 0 });
    await set("muted_until = now() - interval '1 hour'");
    expect(await total()).toEqual({ unread: 1, mentions: 0, rooms: 1 });
    await set("notify = 'mentions'");
    expect(await total()).toEqual({ unread: 0, mentions: 0, rooms: 0 });
    await set("notify = 'none'");
    expect(await total()).toEqual({ unread: 0, mentions: 0, rooms: 0 });
    expect(await unreadIn(dan, room)).toBe(1);
  });
});

test("a deletion lowers what is unread, and the people who had not read the message receive it", () =>
  inRoom(PAIR, async (room) => {
    const [first = 0] = await say(bob, room, "one");
    await put(ada, room, "read", first);
    const { body } = await bob("POST", `${room.path}/messages`, { body: { text: "two" } });
    const { id } = body as { id: string };
    const [third = 0] = await say(bob, room, "three");
    expect(await unreadIn(ada, room)).toBe(2);
    expect((await bob("DELETE", `${room.path}/messages/${id}`)).status).toBeLessThan(300);
    expect(await unreadIn(ada, room)).toBe(1);
    await until(() => published(room, "unread").length === 2, "it was published");
    expect(published(room, "unread").at(-1)).toMatchObject({ unread: 1, firstUnread: third });
    expect(await put(ada, room, "read", third)).toMatchObject({ unread: 0 });
    await put(ada, room, "unread", first);
    expect(await unreadIn(ada, room)).toBe(2);
  }));

test("a person who writes on Matrix has read the room up to there", () =>
  inRoom(PAIR, async (room) => {
    await say(bob, room, "one");
    const senderId = await userId("ada");
    const entry = (text: string, by: string | null) => ({
      ...{ entryId: newId(), eventId: `$${newId()}`, type: "message.created" as const },
      ...{ senderId: by, senderName: null, clientId: null, content: { kind: "text", text }, at: null },
    });
    await world.db.transaction((trx) =>
      appendEntries(trx, [
        { roomId: room.id, entries: [entry("from Matrix", senderId), entry("after it", null)] },
      ]),
    );
    expect(await unreadIn(ada, room)).toBe(1);
    expect(await unreadIn(bob, room)).toBe(2);
  }));

test("rights: a guest reads without a receipt and may not type, an outsider finds no room", () =>
  inRoom([{ user: "gil", role: "guest" }, { user: "bob" }], async (room) => {
    const gil = await tenant.user("gil");
    await tenant.server("PUT", "/v1/users/out", { body: {} });
    const out = await tenant.user("out");
    const [first = 0] = await say(bob, room, "one");
    await put(gil, room, "read", first);
    expect((await bob("GET", `${room.path}/receipts`)).body).toMatchObject({
      items: [{ user: { user: "bob" } }],
    });
    expect(await gil("PUT", `${room.path}/typing`, { body: { typing: true } })).toMatchObject({
      ...{ status: 403, body: { code: "forbidden" } },
    });
    for (const [method, what, body] of [
      ["PUT", "typing", { typing: true }],
      ["PUT", "read", { number: 1 }],
      ["PUT", "unread", { number: 1 }],
      ["GET", "receipts", undefined],
    ] as const) {
      expect((await out(method, `${room.path}/${what}`, { body })).status).toBe(404);
      expect((await tenant.server(method, `${room.path}/${what}`, { body })).status).toBe(403);
    }
    await until(() => published(room, "unread").length > 0, "the guest's own devices received it");
    expect(published(room, "receipt")).toEqual([]);
  }));

test("typing is answered 204, costs one command and no statement beyond the access, and leaves no row", () =>
  inRoom(PAIR, async (room) => {
    const type = (typing: boolean) => ada("PUT", `${room.path}/typing`, { body: { typing } });
    await type(true);
    const rows = await countRows(world.db);
    const costs: { commands: number; statements: number }[] = [];
    for (let call = 0; call < 5; call++) {
      const counting = countCosts(room.id);
      expect(await type(true)).toMatchObject({ status: 204, body: "" });
      costs.push(counting.end());
    }
    // A call may also read the tenant, once a second, and what earlier calls left to do may run beside it.
    expect(Math.min(...costs.map(({ commands }) => commands))).toBe(1);
    expect(Math.min(...costs.map(({ statements }) => statements))).toBe(1);
    expect({ ...(await countRows(world.db)), notices: rows["notices"] }).toEqual(rows);
    await type(false);
    await until(() => published(room, "typing").length === 2, "the lists were published");
    expect(published(room, "typing").map(({ users }) => users.map(({ user }) => user))).toEqual([
      ["ada"],
      [],
    ]);
  }));

/** Counts the commands that name a room, and all statements, until `end`. */
function countCosts(roomId: string): { end: () => { commands: number; statements: number } } {
  const counts = { commands: 0, statements: 0 };
  // eslint-disable-next-line @typescript-eslint/unbound-method -- they are called with their objects
  const [send, query] = [Redis.prototype.sendCommand, pg.Client.prototype.query];
  Redis.prototype.sendCommand = function (this: Redis, ...args) {
    if (args[0].args.some((arg) => String(arg).includes(roomId))) counts.commands++;
    return send.apply(this, args);
  };
  pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
    counts.statements++;
    return Reflect.apply(query, this, args) as never;
  };
  return {
    end: () => {
      Redis.prototype.sendCommand = send;
      pg.Client.prototype.query = query;
      return counts;
    },
  };
}

test("signs are limited for each person and room, and spend nothing of the person's requests", () =>
  inRoom(PAIR, async (room) => {
    const eve = { members: [{ user: "eve" }] };
    await tenant.server("POST", `${room.path}/members`, { body: eve });
    const as = await tenant.user("eve");
    const statuses = await Promise.all(
      Array.from(
        { length: 70 },
        async () => (await as("PUT", `${room.path}/typing`, { body: { typing: true } })).status,
      ),
    );
    expect(statuses.filter((status) => status === 204).length).toBeGreaterThanOrEqual(60);
    await until(
      async () => (await as("PUT", `${room.path}/typing`, { body: { typing: true } })).status === 429,
      "the limit was reached",
    );
    expect((await as("POST", `${room.path}/messages`, { body: { text: "still" } })).status).toBe(202);
    await inRoom([{ user: "eve" }], async (other) => {
      expect((await as("PUT", `${other.path}/read`, { body: { number: 1 } })).status).toBe(200);
    });
  }));
