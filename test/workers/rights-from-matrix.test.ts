import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { endBans } from "../../shared/db/bans/bans.ts";
import { changeRoom, findRoom, type Room } from "../../shared/db/rooms/rooms.ts";
import type { MatrixEvent } from "../../workers/matrix/event.ts";
import { applySyncPlan } from "../../workers/inbound/apply-plan.ts";
import { planSync } from "../../workers/inbound/sync-plan.ts";
import type { EventContext } from "../../workers/inbound/translate/translation.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let room: Room;
let count = 0;
const ROLES = { ada: "admin", mia: "moderator", bob: "member" } as const;
type Name = keyof typeof ROLES | "cleo";
const idOf = (name: Name) => `@${name}:test`;

beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  room = await place.room(`group:rights-${String(++count)}`, Object.keys(ROLES));
  for (const [name, role] of Object.entries(ROLES))
    await place.sql("update memberships set role = ? where room_id = ? and user_id = ?", [
      role,
      room.id,
      await place.userId(name),
    ]);
});
afterAll(() => place.close());

let events = 0;
type Given = { type: string; content: Record<string, unknown>; sender: Name } & Partial<MatrixEvent>;
function event({ sender, ...given }: Given): MatrixEvent {
  const at = { event_id: `$${String(++events)}`, origin_server_ts: Date.now() + events, state_key: "" };
  return { ...at, ...given, sender: idOf(sender) };
}

/** The observer reads events of the room. */
async function read(...given: MatrixEvent[]): Promise<void> {
  const names = [...Object.keys(ROLES), "cleo"] as Name[];
  const ids = await Promise.all(names.map(async (name) => [idOf(name), await place.userId(name)] as const));
  const facts: EventContext = {
    observerMatrixId: "@observer:test",
    userIds: new Map(ids),
    ...{ names: new Map(), people: new Map(), roomMentioners: new Set<string>(), answered: new Map() },
    ...{ messages: new Map(), messagesByEvent: new Map(), redactedStates: new Map(), redacted: new Map() },
    ...{ waiting: [], tenantId: place.tenantId },
  };
  const plan = planSync([{ roomId: room.id, matrixRoomId: room.id, events: given }], facts);
  const require = {
    sql: "select 1 from room_timeline where room_id = :roomId for update",
    bindings: { roomId: room.id },
  };
  await applySyncPlan(place.db, { require, plan, also: [] });
}

async function state() {
  const [row] = await place.sql<{ name: string; topic: string | null; due: boolean; version: number }>(
    "select name, topic, next_attempt_at is not null as due, desired_version as version from rooms where id = ?",
    [room.id],
  );
  const entries = await place.sql<{ type: string; content: unknown }>(
    "select type, content from timeline where room_id = ? and type <> 'message.created' order by number",
    [room.id],
  );
  return { ...row, entries };
}

test("a name and a topic of an admin are taken over, each with an entry that names the admin", async () => {
  const before = await state();
  await read(
    event({ type: "m.room.name", content: { name: "Chess" }, sender: "ada" }),
    event({ type: "m.room.topic", content: { topic: "Openings" }, sender: "ada" }),
  );
  expect(await state()).toMatchObject({
    ...{ name: "Chess", topic: "Openings", due: true },
    version: (before.version ?? 0) + 2,
    entries: [
      { type: "room.changed", content: { changed: { name: "Chess" }, by: "ada" } },
      { type: "room.changed", content: { changed: { topic: "Openings" }, by: "ada" } },
    ],
  });
});

test.each(["mia", "bob", "cleo"] as const)(
  "a name of %s, who may not name the room, is put back",
  async (sender) => {
    const before = await state();
    await read(event({ type: "m.room.name", content: { name: "Theirs" }, sender }));
    expect(await state()).toMatchObject({
      name: room.name,
      due: true,
      version: (before.version ?? 0) + 1,
      entries: [],
    });
  },
);

test("a name that is read after the room was named here is put back, and so is one that is read again", async () => {
  const old = event({
    type: "m.room.name",
    content: { name: "Old" },
    sender: "ada",
    origin_server_ts: 1_000,
  });
  await read(old);
  expect(await state()).toMatchObject({ name: "Old" });
  await place.db.transaction(async (trx) => {
    const present = await findRoom(trx, place.tenantId, room);
    if (present) await changeRoom(trx, present, { name: "New" });
  });
  await read(old);
  expect(await state()).toMatchObject({ name: "New", due: true, entries: [{ content: { by: "ada" } }] });
});

async function pinned(): Promise<number> {
  const rows = await place.sql(
    "select 1 from message_states where room_id = ? and pinned_number is not null",
    [room.id],
  );
  return rows.length;
}

/** A message that has its event on Matrix. */
async function say(text: string): Promise<{ id: string; event: string }> {
  const [message] = await place.accept(room, "bob", text);
  const sent = { id: message?.id ?? "", event: `$sent-${message?.id ?? ""}` };
  await place.sql(
    "update messages set status = 'sent', open = false, event_id = ?, seen_event_id = ? where id = ?",
    [sent.event, sent.event, sent.id],
  );
  return sent;
}

const pins = (sender: Name, now: string[], before: string[] = []) =>
  event({
    type: "m.room.pinned_events",
    content: { pinned: now },
    sender,
    unsigned: { prev_content: { pinned: before } },
  });

test("pins of a moderator count, once, however often they are read", async () => {
  const [one, two] = [await say("one"), await say("two")];
  const list = pins("mia", [one.event, two.event]);
  await read(list);
  expect(await pinned()).toBe(2);
  const { due } = await state();
  await read(pins("mia", [two.event], [one.event, two.event]));
  expect(await pinned()).toBe(1);
  await read(list);
  expect(await pinned()).toBe(1);
  const { entries } = await state();
  expect(entries.map(({ type }) => type)).toEqual(["message.pinned", "message.pinned", "message.unpinned"]);
  expect((await state()).due).toBe(due);
});

test("a list of pinned messages by somebody who may not pin, and one that is too long, is put back", async () => {
  const one = await say("one");
  await place.sql("update rooms set next_attempt_at = null where id = ?", [room.id]);
  await read(pins("bob", [one.event]));
  expect([await pinned(), (await state()).due]).toEqual([0, true]);
  await place.sql("update rooms set next_attempt_at = null where id = ?", [room.id]);
  await read(pins("mia", [one.event]));
  expect([await pinned(), (await state()).due]).toEqual([1, false]);
  const many = Array.from({ length: 50 }, (_, index) => `$unknown-${String(index)}`);
  await read(pins("mia", [one.event, ...many], [one.event]));
  expect((await state()).due).toBe(true);
});

const LATER = Date.UTC(2_031, 0, 1);
const member = (sender: Name, membership: string, former: string, atMs = LATER) =>
  event({
    ...{ type: "m.room.member", state_key: idOf("cleo"), sender, origin_server_ts: atMs },
    content: { membership, reason: "Spam\0" },
    unsigned: { prev_content: { membership: former } },
  });
const bans = () => place.sql("select reason, is_ended, is_applied from bans where room_id = ?", [room.id]);

test("a ban of a person who is no member counts by the role of who bans, until somebody who may ends it", async () => {
  await read(member("bob", "ban", "leave"));
  expect(await bans()).toEqual([]);
  const ban = member("mia", "ban", "leave");
  await read(ban);
  expect(await bans()).toEqual([{ reason: "Spam", is_ended: false, is_applied: true }]);
  await read(member("bob", "leave", "ban", LATER + 1));
  // It does not count here: the room's members are due, and the ban is made again.
  expect(await bans()).toEqual([{ reason: "Spam", is_ended: false, is_applied: false }]);
  await read(member("mia", "leave", "ban", LATER + 2));
  expect(await bans()).toEqual([{ reason: "Spam", is_ended: true, is_applied: true }]);
  await read(ban);
  expect(await bans()).toEqual([{ reason: "Spam", is_ended: true, is_applied: true }]);
});

test("a ban on Matrix that is read after it was ended here does not begin again", async () => {
  const ban = member("mia", "ban", "leave", Date.now() - 60_000);
  await read(ban);
  const cleo = await place.userId("cleo");
  await place.db.transaction((trx) => endBans(trx, room.id, [cleo]));
  await read(ban);
  expect(await bans()).toMatchObject([{ is_ended: true, is_applied: false }]);
});
