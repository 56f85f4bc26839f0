import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { markObserverBack } from "../../shared/db/observers/observed-rooms.ts";
import { insertAdoptedRoom, readAdoption } from "../../shared/db/rooms/matrix/adoption.ts";
import { findRoom, findRoomWithPosition, presentRoom, type Room } from "../../shared/db/rooms/rooms.ts";
import type { DesiredRoom } from "../../shared/db/rooms/many/desired-room.ts";
import { acceptMessages } from "../../shared/db/messages/accept/accept-messages.ts";
import { upsertMembers } from "../../shared/db/memberships/memberships.ts";
import { countUnread } from "../../shared/db/memberships/signs/unread.ts";
import { findUnknownUsers } from "../../shared/db/memberships/unknown-users.ts";
import { listTimelineMessages } from "../../shared/db/timeline/pages.ts";
import { presentTimelineMessage } from "../../shared/timeline/present/message.ts";
import { handleRoomSync } from "../../workers/jobs/room-sync.ts";
import type { MatrixEvent } from "../../workers/matrix/event.ts";
import { whyNotAdoptable, type InspectedRoom } from "../../workers/reconcile/inspect-matrix-room.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place.close());

const DAY_MS = 86_400_000;
const START_MS = Date.parse("2025-01-01T00:00:00Z");
let count = 0;

function event(given: Partial<MatrixEvent>): MatrixEvent {
  count++;
  return {
    ...{ event_id: `$adopted${String(count)}`, type: "m.room.message", sender: "@old:test" },
    origin_server_ts: START_MS + count * 1_000,
    content: {},
    ...given,
  };
}
const text = (body: string, more: Partial<MatrixEvent> = {}) =>
  event({ content: { msgtype: "m.text", body }, ...more });

const desired: DesiredRoom = {
  ...{ name: "Old", topic: null, avatar: null, visibility: "private", join: "invite" },
  ...{ posting: "everyone", slowModeS: 0 },
};

async function adopt(
  slug: string,
  { since = null as Date | null, people = ["@old:test"] } = {},
): Promise<Room> {
  const address = { kind: "group" as const, slug };
  const adoption = { matrixRoomId: `!${slug}`, since, people };
  const room = await insertAdoptedRoom(place.db, place.tenantId, address, { desired, adoption });
  await markObserverBack(place.db, room.id, { to: "s100" });
  return room;
}

/** A homeserver that has a room's history, in pages. */
function withHistory(slug: string, pages: readonly (readonly MatrixEvent[])[]): FakeHomeserver {
  const homeserver = new FakeHomeserver();
  homeserver.answer(
    /\/state\/m\.room\.member\//,
    { membership: "join", displayname: "Old Olga" },
    { isKept: true },
  );
  const original = homeserver.as;
  const path = `/rooms/${encodeURIComponent(`!${slug}`)}/messages`;
  Object.assign(homeserver, {
    as: async (id: string) => {
      const request = await original(id);
      return async (call: Parameters<typeof request>[0]) => {
        const answer = await request(call);
        if (call.path !== path) return answer;
        const index = Number(call.query?.["from"]?.slice(1) ?? 0);
        const isLast = index >= pages.length - 1;
        return { chunk: pages[index] ?? [], ...(isLast ? {} : { end: `p${String(index + 1)}` }) };
      };
    },
  });
  return homeserver;
}

async function fill(room: Room, homeserver: FakeHomeserver, maxRuns = 50): Promise<void> {
  for (let run = 0; run < maxRuns; run++) {
    const result = await handleRoomSync(place.context(homeserver), {
      tenantId: place.tenantId,
      roomId: room.id,
    }).catch(() => ({ retryInMs: 0 }));
    if (result.retryInMs === null) return;
  }
  throw new Error("the history is never read");
}

async function messagesOf(room: Room) {
  const rows = await listTimelineMessages(place.db, place.tenantId, room.id, { edge: null, limit: 100 });
  return rows.map(presentTimelineMessage);
}

async function post(slug: string) {
  const message = { tenantId: place.tenantId, user: "ada", room: { kind: "group" as const, slug } };
  const [outcome] = await acceptMessages(place.db, [
    { ...message, content: { kind: "text", text: "new" }, clientId: null, requestHash: null, stamp: null },
  ]);
  return outcome?.outcome;
}

test("the history of an adopted room is in its final state, and posts are taken only after it", async () => {
  const slug = "adopted";
  const [first, second, third] = [text("first"), text("second"), text("a secret")];
  const edit = event({
    content: {
      ...{ msgtype: "m.text", body: "* first, corrected" },
      "m.new_content": { msgtype: "m.text", body: "first, corrected" },
      "m.relates_to": { rel_type: "m.replace", event_id: first.event_id },
    },
  });
  const react = (key: string, sender: string) =>
    event({
      ...{ type: "m.reaction", sender },
      content: { "m.relates_to": { rel_type: "m.annotation", event_id: second.event_id, key } },
    });
  const [kept, taken] = [react("👍", "@old:test"), react("👎", "@other:test")];
  const redact = (target: MatrixEvent) =>
    event({ type: "m.room.redaction", sender: target.sender, content: { redacts: target.event_id } });
  const pruned = event({ content: {} });
  const room = await adopt(slug);
  await upsertMembers(place.db, place.tenantId, room.id, [
    { userId: await place.userId("ada"), role: "member" },
  ]);
  expect(await post(slug)).toBe("room_adopting");
  const homeserver = withHistory(slug, [
    [first, second],
    [third, edit, kept, taken],
    [redact(third), redact(taken), pruned, text("last")],
  ]);
  await fill(room, homeserver);

  const messages = await messagesOf(room);
  expect(messages.map(({ text: body, deletedAt }) => [body, deletedAt !== null])).toEqual([
    ["first, corrected", false],
    ["second", false],
    ["", true],
    ["last", false],
  ]);
  expect(messages[0]).toMatchObject({
    sender: { user: null, displayName: "Old Olga" },
    at: new Date(first.origin_server_ts).toISOString(),
  });
  expect(messages[1]?.reactions).toEqual([{ key: "👍", count: 1, users: [] }]);
  expect(await readAdoption(place.db, room.id)).toBeNull();
  expect((await countUnread(place.db, [await place.userId("ada")]))[0]?.unread).toBe(0);
  expect(await post(slug)).toBe("accepted");
  expect((await messagesOf(room)).at(-1)?.text).toBe("new");
});

test("a reading that is interrupted again and again goes on where it was, and takes nothing over twice", async () => {
  const slug = "adopted-killed";
  const pages = Array.from({ length: 8 }, (_, page) =>
    Array.from({ length: 10 }, (_, index) => text(`${String(page)}-${String(index)}`)),
  );
  const room = await adopt(slug);
  const homeserver = withHistory(slug, pages);
  let calls = 0;
  homeserver.meanwhile = () => (++calls % 2 === 0 ? Promise.reject(new Error("killed")) : Promise.resolve());
  await fill(room, homeserver);
  expect((await messagesOf(room)).map(({ text: body }) => body)).toEqual(
    pages.flat().map(({ content }) => content["body"]),
  );
});

test("operators see how far the reading is, and the room is pending until it is done", async () => {
  const slug = "adopted-progress";
  const room = await adopt(slug);
  await place.db.raw("update rooms set status = 'ready', applied_version = desired_version where id = ?", [
    room.id,
  ]);
  const status = async () => {
    const row = await findRoomWithPosition(place.db, place.tenantId, { kind: "group", slug });
    return row && presentRoom(row).status;
  };
  expect(await status()).toBe("pending");
  expect(await readAdoption(place.db, room.id)).toMatchObject({
    state: "reading",
    entries: 0,
    readUpTo: null,
  });
  await fill(room, withHistory(slug, [[text("only")]]));
  expect(await status()).toBe("ready");
});

test("what is older than the limit is not taken over, also when the room is read again", async () => {
  const slug = "adopted-since";
  const [old, young] = [text("old"), text("young", { origin_server_ts: START_MS + 100 * DAY_MS })];
  const edit = event({
    origin_server_ts: START_MS + 101 * DAY_MS,
    content: {
      ...{ msgtype: "m.text", body: "* old!", "m.new_content": { msgtype: "m.text", body: "old!" } },
      "m.relates_to": { rel_type: "m.replace", event_id: old.event_id },
    },
  });
  const room = await adopt(slug, { since: new Date(START_MS + 50 * DAY_MS) });
  const homeserver = withHistory(slug, [[old, young, edit]]);
  await fill(room, homeserver);
  expect((await messagesOf(room)).map(({ text: body }) => body)).toEqual(["young"]);
  expect(await place.sql("select 1 from waiting_acts where room_id = ?", [room.id])).toEqual([]);
  await place.db.raw("update room_timeline set gap_from = '', gap_to = 's200' where room_id = ?", [room.id]);
  await fill(room, homeserver);
  expect((await messagesOf(room)).map(({ text: body }) => body)).toEqual(["young"]);
});

test("a room is adopted once, and the people in it may stay", async () => {
  const address = { kind: "group" as const, slug: "adopted-once" };
  const room = await adopt("adopted-once", { people: ["@old:test", "@olga:test"] });
  expect((await adopt("adopted-once")).id).toBe(room.id);
  const taking = insertAdoptedRoom(
    place.db,
    place.tenantId,
    { kind: "group", slug: "another" },
    {
      ...{ desired, adoption: { matrixRoomId: "!adopted-once", since: null, people: [] } },
    },
  );
  await expect(taking).rejects.toThrow("Another room has this Matrix room already.");
  await place.room("group:there");
  const there = insertAdoptedRoom(
    place.db,
    place.tenantId,
    { kind: "group", slug: "there" },
    {
      ...{ desired, adoption: { matrixRoomId: "!new", since: null, people: [] } },
    },
  );
  await expect(there).rejects.toThrow("There is a room group:there already.");
  expect(await findRoom(place.db, place.tenantId, address)).toMatchObject({ adopting: true });
  const present = ["@old:test", "@olga:test", "@new:test"];
  expect(await findUnknownUsers(place.db, { id: room.id, observer_matrix_id: "@bot:test" }, present)).toEqual(
    ["@new:test"],
  );
});

test("the history says nothing of who may be in the room now", async () => {
  const slug = "adopted-members";
  const room = await adopt(slug);
  const join = event({ type: "m.room.member", state_key: "@gone:test", content: { membership: "join" } });
  await fill(room, withHistory(slug, [[join, text("hello")]]));
  const [row] = await place.sql<{ strangers_seen_at: Date | null }>(
    "select strangers_seen_at from rooms where id = ?",
    [room.id],
  );
  expect(row?.strangers_seen_at).toBeNull();
});

const good: InspectedRoom = {
  ...{ isObserverIn: true, obstacle: null, isEncrypted: false, isReplaced: false },
  ...{ name: null, topic: null, people: [] },
};
test.each<[string, Partial<InspectedRoom>, string | null]>([
  ["that the bot has power over", {}, null],
  ["without the bot", { isObserverIn: false }, "invite it"],
  ["that is encrypted", { isEncrypted: true }, "encrypted"],
  ["that was upgraded", { isReplaced: true }, "upgraded"],
  ["in which the bot is weak", { obstacle: { others: [], isObserverWeak: true } }, "power level 100"],
  ["with others of the same power", { obstacle: { others: ["@a:b"], isObserverWeak: false } }, null],
])("a room %s is adopted or refused with what to do", (_name, given, refusal) => {
  const why = whyNotAdoptable({ ...good, ...given }, "@bot:test");
  if (refusal === null) expect(why).toBeNull();
  else expect(why).toContain(refusal);
});
