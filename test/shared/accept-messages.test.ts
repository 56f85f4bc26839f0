import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { acceptMessages, type NewMessage } from "../../shared/db/messages/accept/accept-messages.ts";
import { openDb } from "../../shared/db/connection/open.ts";
import { lockOutboxes } from "../../shared/db/rooms/rooms.ts";
import { newId } from "../../shared/platform/ids.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { until } from "../support/wait.ts";
import { openApiWorld, type ApiWorld, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("batches");
  for (const slug of ["a", "b"]) {
    await tenant.server("PUT", `/v1/rooms/group/${slug}`, {
      body: { name: slug, members: [{ user: "ada" }, { user: "gil", role: "guest" }] },
    });
  }
});
afterAll(() => world.close());

function message(slug: string, text: string, more: Partial<NewMessage> = {}): NewMessage {
  const room = { kind: "group" as const, slug };
  const content = { kind: "text" as const, text };
  const sender = { tenantId: tenant.row.id, user: "ada", stamp: null };
  return { ...sender, room, content, clientId: null, requestHash: null, ...more };
}

test("a batch is answered in the order asked, good ones and refused ones", async () => {
  const twice = { clientId: "twice", requestHash: "00" };
  const answers = await acceptMessages(world.db, [
    message("a", "1"),
    message("none", "2"),
    message("b", "3"),
    message("a", "4", { user: "gil" }),
    message("a", "5", twice),
    message("a", "5", twice),
    message("a", "6", { user: "outsider" }),
  ]);
  expect(answers.map(({ outcome }) => outcome)).toEqual([
    "accepted",
    "no_such_room",
    "accepted",
    "may_not_post",
    "accepted",
    "replayed",
    "no_such_room",
  ]);
  const [first, , third, , fifth, sixth] = answers.map((answer) =>
    "message" in answer ? answer.message : null,
  );
  expect([first?.number, third?.number, fifth?.number]).toEqual([3, 3, 4]);
  expect(sixth).toMatchObject({ id: fifth?.id, number: 4 });
  await expectDense();
});

test("the rooms that another transaction locks are named at once, and the messages of the others are accepted", async () => {
  const trx = await world.db.transaction();
  await trx.raw(
    "select 1 from room_timeline where room_id = (select id from rooms where slug = 'a') for update",
  );
  const batch = [
    message("a", "held"),
    message("b", "free"),
    message("none", "refused"),
    message("a", "held"),
  ];
  const answers = await acceptMessages(world.db, batch, undefined, { skipsLocked: true });
  expect(answers.map(({ outcome }) => outcome)).toEqual([
    "room_locked",
    "accepted",
    "no_such_room",
    "room_locked",
  ]);
  expect(await acceptMessages(world.db, batch.slice(0, 1))).toEqual([{ outcome: "room_locked" }]);
  await trx.commit();
  const again = await acceptMessages(world.db, batch.slice(0, 1), undefined, { skipsLocked: true });
  expect(again).toMatchObject([{ outcome: "accepted" }]);
  await expectDense();
});

test("one client id in two rooms and in crossing batches at once is one message, and burns no number", async () => {
  const processes = [world.db, openDb({ url: world.config.databaseUrl, name: "second-process", max: 10 })];
  const named = (slug: string, clientId: string) => message(slug, "once", { clientId, requestHash: "00" });
  for (let round = 0; round < 25; round++) {
    const ids = [`x-${round}`, `y-${round}`];
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => {
        const [first = "", second = ""] = index % 2 ? ids : [...ids].reverse();
        const [here = "", there = ""] =
          [
            ["a", "a"],
            ["b", "b"],
            ["a", "b"],
            ["b", "a"],
          ][index >> 1] ?? [];
        const batch = [
          named(here, first),
          message(here, "between"),
          named(there, second),
          named(here, first),
        ];
        return acceptMessages(processes[index % 2] ?? world.db, batch);
      }),
    );
    for (const clientId of ids) {
      const own = answers
        .flat()
        .flatMap((it) => ("message" in it && it.message.client_id === clientId ? [it] : []));
      expect(own).toHaveLength(12);
      expect(own.filter(({ outcome }) => outcome === "accepted")).toHaveLength(1);
      expect(new Set(own.map(({ message: { id, number } }) => `${id} ${number}`)).size).toBe(1);
    }
  }
  await processes[1]?.destroy();
  await expectDense();
});

test("batches that lock the same rooms in another order all come through", async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      acceptMessages(
        world.db,
        index % 2 ? [message("a", "x"), message("b", "x")] : [message("b", "x"), message("a", "x")],
      ),
    ),
  );
  expect(answers.flat().every(({ outcome }) => outcome === "accepted")).toBe(true);
});

test("only the first message of an idle room wakes it: one job sends the others too", async () => {
  await tenant.server("PUT", "/v1/rooms/group/idle", { body: { name: "idle", members: [{ user: "ada" }] } });
  const wakes = async (text: string) => {
    const woken: string[] = [];
    const [answer] = await acceptMessages(world.db, [message("idle", text)], (idle) => {
      woken.push(...idle.map(({ roomId }) => roomId));
    });
    return answer?.outcome === "accepted" ? woken.map((roomId) => roomId === answer.message.room_id) : null;
  };
  expect(await wakes("1")).toEqual([true]);
  expect(await wakes("2")).toEqual([]);

  await world.db.raw(
    "update room_outbox set next_attempt_at = null where room_id = (select id from rooms where tenant_id = ? and slug = 'idle')",
    [tenant.row.id],
  );
  expect(await wakes("3")).toEqual([true]);
});

test("an accepted message has a number behind the removal that was committed while it waited", async () => {
  await tenant.server("PUT", "/v1/rooms/group/place", {
    body: { name: "place", members: [{ user: "ada" }] },
  });
  const [room] = await read<{ id: string; epoch: string; last_number: number }>(
    "select r.id, t.epoch, t.last_number from rooms r join room_timeline t on t.room_id = r.id where r.slug = 'place'",
  );
  if (!room) throw new Error("no room");
  const { trx, left } = await removeSomebody(room.id);
  const answer = acceptMessages(world.db, [message("place", "behind it")]);
  await until(async () => {
    const waiting =
      "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    return (await read(waiting)).length > 0;
  }, "the message waits for the removal");
  await trx.commit();
  const number = room.last_number + 2;
  expect(left).toBe(number - 1);
  expect(await answer).toMatchObject([
    { outcome: "accepted", message: { number }, entry: { number, epoch: room.epoch, last_number: number } },
  ]);
});

/** Every timeline has the numbers from 1 to its last one, and each accepted message one of them. */
async function expectDense(): Promise<void> {
  const rooms = await read<{ last_number: number; entries: number; highest: number }>(
    `select t.last_number, count(e.*) as entries, coalesce(max(e.number), 0) as highest
       from room_timeline t left join timeline e on e.room_id = t.room_id group by t.room_id`,
  );
  for (const { last_number: last, entries, highest } of rooms)
    expect([entries, highest]).toEqual([last, last]);
  expect(
    await read(
      "select 1 from messages m where not exists (select 1 from timeline e where e.entry_id = m.id)",
    ),
  ).toEqual([]);
}

async function read<Row>(sql: string): Promise<Row[]> {
  return (await world.db.raw<{ rows: Row[] }>(sql)).rows;
}

/** A transaction that holds a room's lock and has appended that somebody left; ending it is the caller's. */
async function removeSomebody(roomId: string) {
  const trx = await world.db.transaction();
  await lockOutboxes(trx, tenant.row.id, [roomId]);
  const [row] = await appendEntries(trx, [
    {
      roomId,
      entries: [
        {
          ...{ entryId: newId(), eventId: null, type: "member.left", senderId: null, senderName: null },
          ...{ clientId: null, content: { role: "member", by: null }, at: null },
        },
      ],
    },
  ]);
  return { trx, left: row?.number };
}

test("who posts has read up to the own last message: what others wrote behind it in the same batch is unread", async () => {
  const path = "/v1/rooms/group/together";
  const members = [{ user: "ada" }, { user: "bob" }, { user: "cy" }];
  await tenant.server("PUT", path, { body: { name: "Together", members } });
  const by = (user: string) => message("together", `of ${user}`, { user });
  await acceptMessages(world.db, [by("ada"), by("bob"), by("ada"), by("bob"), by("bob")]);
  const unread = async (user: string) =>
    ((await (await tenant.user(user))("GET", "/v1/me/unread")).body as { unread: number }).unread;
  expect([await unread("ada"), await unread("bob"), await unread("cy")]).toEqual([2, 0, 5]);
});
