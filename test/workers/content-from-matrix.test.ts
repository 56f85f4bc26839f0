import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { Role } from "../../shared/contract/roles.ts";
import type { MessageResource } from "../../shared/contract/resources.ts";
import { acquireObserverLeases, type LeasedObserver } from "../../shared/db/observers/observer-lease.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { listTimelineMessages } from "../../shared/db/timeline/pages.ts";
import { presentTimelineMessage } from "../../shared/timeline/present/message.ts";
import { saveChanges } from "../../workers/inbound/save-changes.ts";
import type { MatrixEvent } from "../../workers/matrix/event.ts";
import { MARKER } from "../../workers/matrix/marker.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let observer: LeasedObserver & { fence: string };
let room: Room;
let count = 0;

beforeAll(async () => {
  place = await openWorkplace();
  const [taken] = await acquireObserverLeases(place.db, 1);
  if (!taken) throw new Error("no observer");
  observer = taken;
  await place.sql("update users set display_name = 'Bob' where id = ?", [await place.userId("bob")]);
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  await place.sql("update sync_positions set lease_until = now() + interval '1 hour'");
  await openRoom();
});
afterAll(() => place.close());

const mallory = "@mallory:elsewhere.org";

async function openRoom(role: Role = "member"): Promise<void> {
  room = await place.room(`group:content-in-${++count}`, ["ada", "bob"], role);
  await place.sql("update rooms set matrix_room_id = ? where id = ?", [`!${room.id}`, room.id]);
}

async function matrixId(user: string): Promise<string> {
  await place.userId(user);
  const [row] = await place.sql<{ matrix_user_id: string }>(
    "select matrix_user_id from users where external_id = ?",
    [user],
  );
  return row?.matrix_user_id ?? "";
}

async function event(
  content: Record<string, unknown>,
  more: Partial<MatrixEvent> = {},
): Promise<MatrixEvent> {
  const id = ++count;
  const sender = more.sender ?? (await matrixId("ada"));
  const event_id = `$event${id}`;
  return { event_id, type: "m.room.message", origin_server_ts: id * 1_000, content, ...more, sender };
}

const text = (body: string, more: Record<string, unknown> = {}) =>
  event({ msgtype: "m.text", body, ...more });
const formatted = (body: string, html: string, more: Record<string, unknown> = {}) =>
  text(body, { format: "org.matrix.custom.html", formatted_body: html, ...more });
const replyTo = (eventId: string) => ({ "m.relates_to": { "m.in_reply_to": { event_id: eventId } } });

let position = 0;
async function read(...events: MatrixEvent[]): Promise<void> {
  const running = {
    ...{
      observer,
      fence: observer.fence,
      signal: new AbortController().signal,
      known: new Map<string, string>(),
    },
    reading: { fromStream: false, isConfirmed: false, roomsComparedAtMs: null },
  };
  await saveChanges(place.context(homeserver), running, `s${position}`, {
    next_batch: `s${++position}`,
    rooms: { join: { [`!${room.id}`]: { timeline: { events, limited: false } } }, leave: {} },
  });
}

async function shown(): Promise<MessageResource[]> {
  const rows = await listTimelineMessages(place.db, place.tenantId, room.id, { edge: null, limit: 100 });
  return rows.map(presentTimelineMessage);
}

test("a formatted message is Markdown here with safe HTML, and no Matrix id leaves the server", async () => {
  const bob = await matrixId("bob");
  const html =
    `<h1 onclick="x()">Hi</h1><script>alert(1)</script><a href="https://matrix.to/#/${bob}">Bobby</a> ` +
    `<a href="https://matrix.to/#/${mallory}">Mal</a> <a href="javascript:x()">x</a> <span data-mx-spoiler="why">secret</span> ` +
    `<a href="https://matrix.to/#/!room:elsewhere.org">a room</a>`;
  await read(
    await formatted(`Hi ${bob} and ${mallory}`, html, { "m.mentions": { user_ids: [bob, mallory] } }),
  );
  const [message] = await shown();
  expect(message).toMatchObject({
    ...{ kind: "text", format: "markdown", text: "Hi @Bob and @someone" },
    html: '<h1>Hi</h1><span data-mention="bob">@Bob</span> Mal x <span data-spoiler="why">secret</span> a room',
    mentions: { users: ["bob"], room: false },
  });
  expect(JSON.stringify(message)).not.toMatch(/matrix|elsewhere|omc_/);
});

test("who stands as a Matrix id in a plain text is mentioned", async () => {
  const bob = await matrixId("bob");
  await read(await text(`${bob}: <see> you`));
  expect(await shown()).toMatchObject([
    {
      ...{ text: "@Bob: <see> you", format: "plain", mentions: { users: ["bob"] } },
      html: '<span data-mention="bob">@Bob</span>: &lt;see&gt; you',
    },
  ]);
  const [mention] = await place.sql("select 1 from mentions where room_id = ? and user_id = ?", [
    room.id,
    await place.userId("bob"),
  ]);
  expect(mention).toBeDefined();
});

test.each<[string, Role, boolean]>([
  ["of a moderator", "moderator", true],
  ["of a member", "member", false],
])("the mention of everybody %s counts by the role here", async (_, role, counts) => {
  await openRoom(role);
  const mentions = { "m.mentions": { room: true } };
  await read(
    await text("all of you", mentions),
    await event({ msgtype: "m.text", body: "us", ...mentions }, { sender: mallory }),
  );
  expect(await shown()).toMatchObject([{ mentions: { room: counts } }, { mentions: { room: false } }]);
});

test("a reply shows what it answers, without the lines that quote it: of Matrix, of ours, and of the same batch", async () => {
  const question = await text("seven?");
  await read(question);
  const [ours] = await place.accept(room, "bob", "eight!");
  const echo = await event(
    { msgtype: "m.text", body: "eight!", [MARKER]: ours?.id },
    { sender: await matrixId("bob") },
  );
  const quoted = await formatted(
    `> <${mallory}> seven?\n\nno`,
    `<mx-reply><blockquote>seven?</blockquote></mx-reply><b>no</b>`,
    replyTo(question.event_id),
  );
  await read(
    quoted,
    echo,
    await text("fine", replyTo(echo.event_id)),
    await text("really", replyTo(quoted.event_id)),
  );
  const byText = new Map((await shown()).map((message) => [message.text, message]));
  expect(byText.get("no")).toMatchObject({
    html: "<strong>no</strong>",
    replyTo: { text: "seven?", number: 1, sender: { user: "ada" } },
  });
  expect(byText.get("fine")).toMatchObject({
    mentions: { users: ["bob"] },
    replyTo: { id: ours?.id, text: "eight!", sender: { user: "bob" } },
  });
  expect(byText.get("really")).toMatchObject({ replyTo: { text: "no" } });
});

test("a reply that comes before what it answers shows it once that is here", async () => {
  const question = await text("seven?");
  await read(await text("no", replyTo(question.event_id)));
  expect(await shown()).toMatchObject([{ text: "no", replyTo: null }]);
  await read(question);
  expect(await shown()).toMatchObject([{ text: "no", replyTo: { text: "seven?" } }, {}]);
});

test("a message of a thread answers what it says, or the thread's first message, and keeps the thread", async () => {
  const [root, other] = [await text("root"), await text("other")];
  const inThread = (isFallback: boolean) => ({
    "m.relates_to": {
      ...{ rel_type: "m.thread", event_id: root.event_id, is_falling_back: isFallback },
      "m.in_reply_to": { event_id: other.event_id },
    },
  });
  await read(root, other, await text("first", inThread(true)), await text("second", inThread(false)));
  const [first, , third, fourth] = await shown();
  expect([third, fourth]).toMatchObject([{ replyTo: { text: "root" } }, { replyTo: { text: "other" } }]);
  const threads = await place.sql(
    "select content ->> 'thread' as thread from timeline where room_id = ? order by number",
    [room.id],
  );
  const thread = first?.id;
  expect(threads).toEqual([{ thread: null }, { thread: null }, { thread }, { thread }]);
});

test("an edit brings HTML and mentions with it", async () => {
  const bob = await matrixId("bob");
  const message = await text("hello");
  const edited = {
    ...{ msgtype: "m.text", body: "hello Bob", format: "org.matrix.custom.html" },
    formatted_body: `<em>hello</em> <a href="https://matrix.to/#/${bob}">Bob</a>`,
    "m.mentions": { user_ids: [bob] },
  };
  const relation = { rel_type: "m.replace", event_id: message.event_id };
  await read(message, await text("* hello Bob", { "m.new_content": edited, "m.relates_to": relation }));
  expect(await shown()).toMatchObject([
    {
      ...{ text: "hello Bob", format: "markdown", mentions: { users: ["bob"], room: false } },
      html: '<em>hello</em> <span data-mention="bob">@Bob</span>',
    },
  ]);
});

test("what we do not have is a notice that says what it is", async () => {
  const poll = { "m.poll": { question: { "m.text": [{ body: "Where do we meet?" }] } } };
  await read(
    await event({ body: "a cat" }, { type: "m.sticker" }),
    await event(poll, { type: "m.poll.start" }),
    await event({ "m.selections": ["1"] }, { type: "m.poll.response" }),
    await event({ msgtype: "m.location", body: "the café", geo_uri: "geo:1,2" }),
    await event({ msgtype: "m.image", body: "cat.png" }),
    await event({ msgtype: "org.example.dice", body: `${mallory} rolls 6` }),
    await event({ msgtype: "m.emote", body: "waves" }),
  );
  expect((await shown()).map(({ kind, text: words }) => `${kind}: ${words}`)).toEqual([
    "notice: Sticker: a cat",
    "notice: Poll: Where do we meet?",
    "notice: Location: the café",
    "notice: Image: cat.png",
    "notice: Unsupported message: @someone rolls 6",
    "emote: waves",
  ]);
});

test("a formatted reply of ours is recognised, whatever its text looks like", async () => {
  const [first] = await place.accept(room, "ada", "one");
  const [answer] = await place.acceptContent(room, "bob", {
    kind: "emote",
    text: "> <@a> b\n",
    ...(first && { replyTo: first.id }),
  });
  const echo = await event(
    { msgtype: "m.emote", body: "> <@a> b\n", ...replyTo("$one"), [MARKER]: answer?.id },
    { sender: await matrixId("bob") },
  );
  await read(echo);
  expect(await shown()).toHaveLength(2);
  expect(await place.sql("select status from messages where id = ?", [answer?.id])).toEqual([
    { status: "sent" },
  ]);
});

test("the reason of a deletion has names in the place of Matrix ids", async () => {
  const message = await text("hello");
  const reason = `${await matrixId("bob")} and ${mallory} said so`;
  await read(message, await event({ redacts: message.event_id, reason }, { type: "m.room.redaction" }));
  expect(await shown()).toMatchObject([{ text: "", reason: "@Bob and @someone said so" }]);
});
