import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { ActContent } from "../../shared/contract/content/acts.ts";
import type { Content } from "../../shared/contract/content/index.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { MatrixFailure } from "../../workers/matrix/http/failure.ts";
import { MARKER } from "../../workers/matrix/marker.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let room: Room;
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  room = await place.room(`group:content-out-${++count}`, ["ada", "bob", "zoe"]);
  await place.sql("update users set display_name = 'Bob & Sons' where id = ?", [await place.userId("bob")]);
});
afterAll(() => place.close());

async function say(
  user: string,
  content: Omit<Content, "kind"> & { kind?: Content["kind"] },
): Promise<string> {
  const [message] = await place.acceptContent(room, user, { kind: "text", ...content });
  if (!message) throw new Error("no message was accepted");
  return message.id;
}

async function edit(target: string, users: string[]): Promise<string> {
  const mentions = { users, room: false };
  const act: ActContent = { kind: "edit", of: "text", text: "new", format: "plain", html: null, mentions };
  const acceptance = await place.act(room, "ada", target, act);
  if (acceptance.outcome !== "done") throw new Error(acceptance.outcome);
  return acceptance.id;
}

async function drain(): Promise<void> {
  await handleOutboundMessage(place.context(homeserver), { tenantId: place.tenantId, roomId: room.id });
}

/** What was sent last under an id, without the marker. */
function sent(id: string): Record<string, unknown> {
  const call = homeserver.calls.findLast(({ path }) => path.endsWith(`/${id}`));
  const { [MARKER]: marker, ...content } = call?.body ?? {};
  expect(marker).toBe(id);
  return content;
}

function eventOf(id: string): string {
  return `$${homeserver.calls.find(({ path }) => path.endsWith(`/${id}`))?.path ?? ""}`;
}

async function matrixIdOf(user: string): Promise<string> {
  const [row] = await place.sql<{ matrix_user_id: string }>("select matrix_user_id from users where id = ?", [
    await place.userId(user),
  ]);
  return row?.matrix_user_id ?? "";
}

test("a mentioned person has the present name in the text, and a link in the HTML", async () => {
  const html = '<p>hi <span data-mention="bob">@Bobby</span></p>';
  const mentions = { users: ["bob"], room: true };
  const first = await say("ada", { kind: "notice", text: "hi @bob", format: "markdown", html, mentions });
  const second = await say("zoe", { text: "no mention of @bob" });
  await drain();
  const bob = await matrixIdOf("bob");
  expect(sent(first)).toEqual({
    ...{ msgtype: "m.notice", body: "hi @Bob & Sons", format: "org.matrix.custom.html" },
    formatted_body: `<p>hi <a href="https://matrix.to/#/${bob}">Bob &amp; Sons</a></p>`,
    "m.mentions": { user_ids: [bob], room: true },
  });
  expect(sent(second)).toEqual({ msgtype: "m.text", body: "no mention of @bob", "m.mentions": {} });
});

test("a reply names the event of what it answers, which this drain may have sent just before", async () => {
  const first = await say("ada", { text: "one" });
  const second = await say("bob", { text: "two", replyTo: first });
  await drain();
  const third = await say("bob", { text: "three", replyTo: first });
  await drain();
  const relation = { "m.relates_to": { "m.in_reply_to": { event_id: eventOf(first) } } };
  expect(sent(second)).toMatchObject(relation);
  expect(sent(third)).toMatchObject(relation);
});

test("a reply to what is deleted is sent without it", async () => {
  const first = await say("ada", { text: "one" });
  await drain();
  await place.act(room, "ada", first, { kind: "deletion", reason: null });
  const second = await say("bob", { text: "two", replyTo: first });
  await drain();
  expect(sent(second)).not.toHaveProperty("m.relates_to");
});

test("a message of a thread stays in it; one of a thread that the homeserver refuses is a reply", async () => {
  const root = await say("ada", { text: "root" });
  await drain();
  const second = await say("bob", { text: "two", replyTo: root, thread: root });
  await drain();
  const reply = { "m.in_reply_to": { event_id: eventOf(root) } };
  const thread = { rel_type: "m.thread", event_id: eventOf(root), is_falling_back: false };
  expect(sent(second)["m.relates_to"]).toEqual({ ...thread, ...reply });

  homeserver.fail(/\/send\//, new MatrixFailure("unclear", { errcode: "M_UNKNOWN", httpStatus: 400 }));
  const third = await say("bob", { text: "three", replyTo: root, thread: root });
  await drain();
  expect(sent(third)["m.relates_to"]).toEqual(reply);
});

test("an edit mentions those alone whom the message did not mention before it", async () => {
  const message = await say("ada", { text: "old" });
  const first = await edit(message, ["bob"]);
  const second = await edit(message, ["bob", "zoe"]);
  await drain();
  const [bob, zoe] = [await matrixIdOf("bob"), await matrixIdOf("zoe")];
  expect(sent(first)).toMatchObject({
    "m.mentions": { user_ids: [bob] },
    "m.new_content": { "m.mentions": { user_ids: [bob] } },
  });
  expect(sent(second)).toMatchObject({
    body: "* new",
    "m.mentions": { user_ids: [zoe] },
    "m.new_content": { body: "new", "m.mentions": { user_ids: [bob, zoe] } },
    "m.relates_to": { rel_type: "m.replace", event_id: eventOf(message) },
  });
});
