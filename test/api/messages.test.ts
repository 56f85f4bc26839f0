import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { hashRequest } from "../../api/routes/messages/post-message.ts";
import { acceptMessages } from "../../shared/db/messages/accept/accept-messages.ts";
import { roomStreamKey } from "../../shared/platform/redis-keys.ts";
import { publishMarkedRooms } from "../../shared/timeline/publish.ts";
import { newId } from "../../shared/platform/ids.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { openApiWorld, type ApiWorld, type Ask, type TestTenant } from "../support/api.ts";
import { until } from "../support/wait.ts";

let world: ApiWorld;
let tenant: TestTenant;
let ada: Ask;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("messages");
  ada = await tenant.user("ada");
});
afterAll(() => world.close());

type Message = { id: string; number: number | null; text: string; status: string };

async function makeRoom(
  slug: string,
  members = [{ user: "ada", role: "member" }],
): Promise<{ path: string; id: string }> {
  await tenant.server("PUT", `/v1/rooms/group/${slug}`, { body: { name: slug, members } });
  const { rows } = await world.db.raw<{ rows: { id: string }[] }>("select id from rooms where slug = ?", [
    slug,
  ]);
  return { path: `/v1/rooms/group/${slug}/messages`, id: rows[0]?.id ?? "" };
}

/** Appends messages to a room's timeline, as the sync workers do. */
async function appendMessages(roomId: string, texts: readonly string[]): Promise<void> {
  await world.db.transaction(async (trx) => {
    const { rows } = await trx.raw<{ rows: { id: string }[] }>(
      "select id from users where external_id = 'ada'",
    );
    const entries = texts.map((text) => ({
      entryId: newId(),
      eventId: `$${newId()}`,
      type: "message.created" as const,
      senderId: rows[0]?.id ?? null,
      senderName: null,
      clientId: null,
      content: { text },
      at: null,
    }));
    await appendEntries(trx, [{ roomId, entries }]);
  });
}

test("a message is accepted with its number, queued, and readable by its id at once", async () => {
  const room = await makeRoom("first");
  const posted = await ada("POST", room.path, { body: { text: "Hello 👋\n\tthere", clientId: "c-1" } });
  expect(posted.status).toBe(202);
  const message = posted.body as Message;
  expect(posted.headers.get("location")).toBe(`${room.path}/${message.id}`);
  expect(message).toMatchObject({
    room: "group:first",
    // Behind the entry of the member.
    number: 2,
    clientId: "c-1",
    sender: { user: "ada", displayName: null, avatar: null },
    text: "Hello 👋\n\tthere",
    status: "queued",
    error: null,
    deletedAt: null,
  });
  expect(await ada("GET", `${room.path}/${message.id}`)).toMatchObject({ status: 200, body: message });
});

test("twenty requests with one key make one message and get the same answer", async () => {
  const room = await makeRoom("idempotent");
  const replies = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      ada("POST", room.path, {
        body: index % 2 ? { text: "once", clientId: "key-1" } : { text: "once" },
        headers: index % 2 ? {} : { "idempotency-key": "key-1" },
      }),
    ),
  );
  expect(new Set(replies.map(({ body }) => JSON.stringify(body))).size).toBe(1);
  expect(replies.filter(({ headers }) => headers.get("idempotency-replayed") === "true")).toHaveLength(19);
  const { rows } = await world.db.raw<{ rows: { count: number }[] }>(
    "select count(*) as count from messages where room_id = ?",
    [room.id],
  );
  expect(rows[0]?.count).toBe(1);
  // No repetition has burnt a number.
  expect(await ada("POST", room.path, { body: { text: "next" } })).toMatchObject({ body: { number: 3 } });
});

test("what an API process accepted before it died is published by a sweeper, and a repeat gets its number", async () => {
  const room = await makeRoom("died");
  const body = { text: "kept", clientId: "survivor" };
  const content = { kind: "text" as const, text: body.text };
  // Accepted, and neither answered nor published.
  const [lost] = await acceptMessages(world.db, [
    {
      ...{
        tenantId: tenant.row.id,
        user: "ada",
        room: { kind: "group", slug: "died" },
        content,
        stamp: null,
      },
      ...{ clientId: body.clientId, requestHash: hashRequest({ kind: "group", slug: "died" }, content) },
    },
  ]);
  expect(lost).toMatchObject({ outcome: "accepted", message: { number: 2 } });
  const again = await ada("POST", room.path, { body });
  expect(again).toMatchObject({ status: 202, body: { number: 2, ...body } });
  expect(again.headers.get("idempotency-replayed")).toBe("true");

  const { epoch } = (await ada("GET", room.path)).body as { epoch: string };
  await until(async () => {
    await publishMarkedRooms(world, 1_000);
    return (await world.redis.xlen(roomStreamKey(room.id, epoch))) === 2;
  }, "the message is published");
  await until(async () => {
    await publishMarkedRooms(world, 1_000);
    const { rows } = await world.db.raw<{ rows: unknown[] }>(
      "select 1 from unpublished_rooms where room_id = ?",
      [room.id],
    );
    return rows.length === 0;
  }, "the mark is removed");
});

test("a key used for another message is refused, also in another room", async () => {
  const room = await makeRoom("reused");
  const elsewhere = await makeRoom("reused-elsewhere");
  await ada("POST", room.path, { body: { text: "one", clientId: "key-2" } });
  for (const [path, text] of [
    [room.path, "two"],
    [elsewhere.path, "one"],
  ] as const) {
    expect(await ada("POST", path, { body: { text, clientId: "key-2" } })).toMatchObject({
      status: 422,
      body: { code: "idempotency_key_reused" },
    });
  }
});

test("two people can use the same key", async () => {
  const room = await makeRoom("own-keys", [
    { user: "ada", role: "member" },
    { user: "bob", role: "member" },
  ]);
  const bob = await tenant.user("bob");
  const replies = await Promise.all(
    [ada, bob].map((ask) => ask("POST", room.path, { body: { text: "hi", clientId: "same" } })),
  );
  expect(new Set(replies.map(({ body }) => (body as Message).id)).size).toBe(2);
});

test("three hundred simultaneous messages get three hundred numbers in a row, in the order for Matrix", async () => {
  const room = await makeRoom("burst");
  const replies = await Promise.all(
    Array.from({ length: 300 }, (_, index) => ada("POST", room.path, { body: { text: `m${index}` } })),
  );
  expect(replies.filter(({ status }) => status !== 202)).toEqual([]);
  const numbers = replies.map(({ body }) => (body as Message).number ?? 0).sort((a, b) => a - b);
  expect(numbers).toEqual(Array.from({ length: 300 }, (_, index) => index + 2));
  const { rows } = await world.db.raw<{ rows: unknown[] }>(
    `select 1 from messages m join timeline e on e.room_id = m.room_id and e.entry_id = m.id
      where m.room_id = ? and m.order_number + 1 = e.number`,
    [room.id],
  );
  expect(rows).toHaveLength(300);
});

test("pages go back and forth over the timeline and name their position", async () => {
  const room = await makeRoom("pages");
  const texts = Array.from({ length: 25 }, (_, index) => `t${index + 1}`);
  await appendMessages(room.id, texts);
  const read = async (query: string) => {
    const { status, body } = await ada("GET", `${room.path}${query}`);
    expect(status).toBe(200);
    const page = body as { items: Message[]; offset: number; hasMore: boolean; epoch: string };
    return {
      texts: page.items.map(({ text }) => text),
      hasMore: page.hasMore,
      offset: page.offset,
      numbers: page.items.map((m) => m.number),
    };
  };
  expect(await read("?limit=3")).toEqual({
    texts: ["t23", "t24", "t25"],
    hasMore: true,
    offset: 26,
    numbers: [24, 25, 26],
  });
  expect(await read("?limit=3&before=24")).toMatchObject({ texts: ["t20", "t21", "t22"], hasMore: true });
  expect(await read("?limit=5&before=4")).toMatchObject({ texts: ["t1", "t2"], hasMore: false });
  expect(await read("?limit=5&after=0")).toMatchObject({
    texts: ["t1", "t2", "t3", "t4", "t5"],
    hasMore: true,
  });
  expect(await read("?after=26")).toMatchObject({ texts: [], hasMore: false, offset: 26 });
  expect((await read("")).texts).toEqual(texts);
});

test("a page shows how far Matrix has followed: each message's status, and up to which number all are settled", async () => {
  const room = await makeRoom("followed");
  const posted: Message[] = [];
  for (const text of ["one", "two", "three"]) {
    posted.push((await ada("POST", room.path, { body: { text } })).body as Message);
  }
  expect(await ada("GET", room.path)).toMatchObject({
    body: {
      items: [
        { text: "one", status: "queued", number: 2, error: null },
        { text: "two", status: "queued", number: 3 },
        { text: "three", status: "queued", number: 4 },
      ],
      pending: [],
      sentUpTo: 0,
      offset: 4,
      hasMore: false,
    },
  });
  await world.db.raw("update messages set status = 'sent', event_id = '$one', open = false where id = ?", [
    posted[0]?.id ?? "",
  ]);
  await world.db.raw(
    "update messages set status = 'dead', error_code = 'refused', error_message = 'No.', open = false where id = ?",
    [posted[1]?.id ?? ""],
  );
  await world.db.raw(
    `insert into room_mirrors (room_id, tenant_id, sent_number) values (?, ?, 3)
         on conflict (room_id) do update set sent_number = 3`,
    [room.id, tenant.row.id],
  );
  expect(await ada("GET", room.path)).toMatchObject({
    body: {
      items: [
        { text: "one", status: "sent" },
        { text: "two", status: "dead", error: { code: "refused", message: "No." } },
        { text: "three", status: "queued" },
      ],
      sentUpTo: 3,
    },
  });
  expect(await ada("GET", `${room.path}/${posted[1]?.id}`)).toMatchObject({
    body: { number: 3, status: "dead", error: { code: "refused" } },
  });
  const rooms = (await ada("GET", "/v1/me/rooms")).body as { items: { room: string }[] };
  expect(rooms.items.find((it) => it.room === "group:followed")).toMatchObject({
    sentUpTo: 3,
    unread: 0,
    lastMessage: { text: "three", number: 4, status: "queued" },
  });
});

test("a room receives a message with its number before Matrix has it", async () => {
  const room = await makeRoom("shown");
  const subscriber = world.redis.duplicate({ enableOfflineQueue: true });
  const received: { data: { type: string } }[] = [];
  subscriber.on("message", (_channel, text: string) => {
    const live = JSON.parse(text) as { data: string };
    received.push({ ...live, data: JSON.parse(live.data) as { type: string } });
  });
  const messages = () => received.filter(({ data }) => data.type === "message.created");
  await subscriber.subscribe(`omc:{${room.id}}:live`);
  await ada("POST", room.path, { body: { text: "soon" } });
  await until(() => messages().length > 0, "the room received the message");
  subscriber.disconnect();
  const { epoch, offset } = (await ada("GET", room.path)).body as { epoch: string; offset: number };
  const data = { text: "soon", status: "queued", number: offset };
  expect(messages()).toMatchObject([{ number: offset, epoch, data }]);
});

test.each(["sent", "dead"])(
  "a caller that prefers to wait gets the answer when the message is %s",
  async (status) => {
    const room = await makeRoom(`waited-${status}`);
    const waiting = ada("POST", room.path, {
      body: { text: "soon" },
      headers: { prefer: "respond-async, wait=20" },
    });
    await until(async () => {
      const { rows } = await world.db.raw<{ rows: unknown[] }>(
        "update messages set status = ?, event_id = '$x' where room_id = ? returning id",
        [status, room.id],
      );
      return rows.length > 0;
    }, `the message is ${status}`);
    const answer = await waiting;
    expect(answer).toMatchObject({ status: 200, body: { status, number: 2 } });
    expect(answer.headers.get("preference-applied")).toBe("wait=20");
  },
);

test("a wait for which the tenant has no place is not said to be kept", async () => {
  const busy = await world.tenant("no-places");
  await busy.server("PUT", "/v1/rooms/group/busy", { body: { name: "Busy", members: [{ user: "ada" }] } });
  await setTenantLimits(world.db, "no-places", { longPolls: 1 });
  const ask = await busy.user("ada");
  const post = async (text: string, prefer: string) => {
    const body = { text, clientId: text };
    const { headers } = await ask("POST", "/v1/rooms/group/busy/messages", { body, headers: { prefer } });
    return headers.get("preference-applied");
  };
  // Either may take the place: the one that does not is answered at once.
  const both = [post("one", "wait=25"), post("two", "wait=25")];
  expect(await Promise.race(both)).toBeNull();
  await world.db.raw("update messages set status = 'sent', event_id = id::text where tenant_id = ?", [
    busy.row.id,
  ]);
  expect(new Set(await Promise.all(both))).toEqual(new Set([null, "wait=25"]));
  expect(await post("three", "wait=1")).toBe("wait=1");
});

test("a guest may read and not write, and others find no room", async () => {
  const room = await makeRoom("guests", [{ user: "gil", role: "guest" }]);
  const guest = await tenant.user("gil");
  expect((await guest("GET", room.path)).status).toBe(200);
  expect(await guest("POST", room.path, { body: { text: "hi" } })).toMatchObject({
    status: 403,
    body: { code: "forbidden" },
  });
  const other = await tenant.user("outsider");
  expect((await other("GET", room.path)).status).toBe(404);
  expect((await other("POST", room.path, { body: { text: "hi" } })).status).toBe(404);
});

test("my rooms are listed by newest activity, with the unread count and the last message", async () => {
  const quiet = await makeRoom("my-quiet", [{ user: "mia", role: "owner" }]);
  const loud = await makeRoom("my-loud", [{ user: "mia", role: "member" }]);
  await makeRoom("my-new", [{ user: "mia", role: "guest" }]);
  await appendMessages(loud.id, ["before", "more"]);
  await appendMessages(quiet.id, ["last"]);
  const mia = await tenant.user("mia");
  const { body } = await mia("GET", "/v1/me/rooms");
  expect(body).toMatchObject({
    next: null,
    items: [
      { room: "group:my-quiet", role: "owner", unread: 1, mentions: 0, lastMessage: { text: "last" } },
      { room: "group:my-loud", role: "member", unread: 2, lastMessage: { text: "more" } },
      { room: "group:my-new", role: "guest", unread: 0, lastMessage: null },
    ],
  });
  const seen: string[] = [];
  for (let next: string | null = ""; next !== null;) {
    const cursor: string = next === "" ? "" : `&cursor=${next}`;
    const page = (await mia("GET", `/v1/me/rooms?limit=1${cursor}`)).body as {
      items: { slug: string }[];
      next: string | null;
    };
    seen.push(...page.items.map(({ slug }) => slug));
    next = page.next;
  }
  expect(seen).toEqual(["my-quiet", "my-loud", "my-new"]);
});

test("a new member has no unread messages from before", async () => {
  const room = await makeRoom("late");
  await appendMessages(room.id, ["old", "older"]);
  await tenant.server("PUT", "/v1/rooms/group/late/members/newcomer");
  expect(await (await tenant.user("newcomer"))("GET", "/v1/me/rooms")).toMatchObject({
    body: { items: [{ unread: 0 }] },
  });
});

test("a tenant with too many waiting messages is refused as unavailable", async () => {
  const other = await world.tenant("small-quota");
  await world.db.raw("update tenants set limits = ? where slug = 'small-quota'", [
    JSON.stringify({ queuedMessages: 3 }),
  ]);
  await other.server("PUT", "/v1/rooms/group/full", { body: { name: "Full", members: [{ user: "ada" }] } });
  const sender = await other.user("ada");
  const replies = [];
  for (let index = 0; index < 5; index++) {
    replies.push(await sender("POST", "/v1/rooms/group/full/messages", { body: { text: `m${index}` } }));
  }
  expect(replies.map(({ status }) => status)).toEqual([202, 202, 202, 503, 503]);
  expect(replies[4]?.headers.get("retry-after")).toBe("5");
});

test("a room with too many waiting messages is refused as unavailable, and another room is not", async () => {
  const other = await world.tenant("small-rooms");
  await world.db.raw("update tenants set limits = ? where slug = 'small-rooms'", [
    JSON.stringify({ roomMessages: 2 }),
  ]);
  for (const slug of ["full", "free"]) {
    await other.server("PUT", `/v1/rooms/group/${slug}`, {
      body: { name: slug, members: [{ user: "ada" }] },
    });
  }
  const sender = await other.user("ada");
  const post = (slug: string) => sender("POST", `/v1/rooms/group/${slug}/messages`, { body: { text: "x" } });
  const replies = [await post("full"), await post("full"), await post("full"), await post("free")];
  expect(replies.map(({ status }) => status)).toEqual([202, 202, 503, 202]);
  expect(replies[2]?.headers.get("retry-after")).toBe("5");

  // Matrix has followed by one message.
  await world.db.raw(
    `insert into room_mirrors (room_id, tenant_id, closed_count) select id, tenant_id, 1 from rooms where tenant_id = ? and slug = 'full'
         on conflict (room_id) do update set closed_count = 1`,
    [other.row.id],
  );
  expect((await post("full")).body).toMatchObject({ number: 4 });
  expect((await post("full")).status).toBe(503);
});

test("over the quota a repeated request still returns its message, and a refused one does not count", async () => {
  const other = await world.tenant("full-quota");
  await world.db.raw("update tenants set limits = ? where slug = 'full-quota'", [
    JSON.stringify({ queuedMessages: 2 }),
  ]);
  const body = { name: "Full", members: [{ user: "ada" }, { user: "gil", role: "guest" }] };
  await other.server("PUT", "/v1/rooms/group/full", { body });
  const [ada, gil] = [await other.user("ada"), await other.user("gil")];
  const path = "/v1/rooms/group/full/messages";
  expect((await gil("POST", path, { body: { text: "x" } })).status).toBe(403);
  expect((await ada("POST", "/v1/rooms/group/none/messages", { body: { text: "x" } })).status).toBe(404);

  const first = await ada("POST", path, { body: { text: "one", clientId: "k" } });
  expect((await ada("POST", path, { body: { text: "two" } })).status).toBe(202);
  expect((await ada("POST", path, { body: { text: "three", clientId: "l" } })).status).toBe(503);

  const again = await ada("POST", path, { body: { text: "one", clientId: "k" } });
  expect(again).toMatchObject({ status: 202, body: first.body });
  expect(again.headers.get("idempotency-replayed")).toBe("true");
  expect((await ada("POST", path, { body: { text: "other", clientId: "k" } })).status).toBe(422);
  expect((await gil("POST", path, { body: { text: "one", clientId: "k" } })).status).toBe(503);
});
