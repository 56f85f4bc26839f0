import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { MessageResource } from "../../shared/contract/resources.ts";
import { newId } from "../../shared/platform/ids.ts";
import { openApiWorld, type ApiWorld, type Ask, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;
let people: Record<"ada" | "bob" | "mia" | "zoe", Ask>;
const room = "/v1/rooms/group/shapes";
const path = `${room}/messages`;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("shapes");
  await tenant.server("PUT", "/v1/users/bob", { body: { displayName: "Bob <3" } });
  const members = [{ user: "ada" }, { user: "bob" }, { user: "mia", role: "moderator" }];
  await tenant.server("PUT", room, { body: { name: "Shapes", members } });
  await tenant.server("PUT", "/v1/rooms/group/elsewhere", { body: { name: "Elsewhere", members } });
  const [ada, bob, mia, zoe] = [
    await tenant.user("ada"),
    await tenant.user("bob"),
    await tenant.user("mia"),
    await tenant.user("zoe"),
  ];
  people = { ada, bob, mia, zoe };
});
afterAll(() => world.close());

async function say(
  who: keyof typeof people,
  body: Record<string, unknown>,
  to = path,
): Promise<MessageResource> {
  const answer = await people[who]("POST", to, { body });
  expect([answer.status, answer.body]).toEqual([202, expect.anything()]);
  const { id } = answer.body as MessageResource;
  // The answer is what everybody reads afterwards.
  const read = await people.bob("GET", `${to}/${id}`);
  expect(read.body).toEqual(answer.body);
  return answer.body as MessageResource;
}

test("a plain text is what it was: without HTML, mentions and a quoted message", async () => {
  expect(await say("ada", { text: "hello **you** <b>" })).toMatchObject({
    ...{ kind: "text", text: "hello **you** <b>", format: "plain", html: null, replyTo: null },
    mentions: { users: [], room: false },
  });
});

test.each(["notice", "emote"])("a message may be a %s", async (kind) => {
  expect(await say("ada", { text: "waves", kind })).toMatchObject({ kind, text: "waves" });
});

test("Markdown is kept as written, with safe HTML", async () => {
  expect(await say("ada", { text: "**a** <script>", format: "markdown" })).toMatchObject({
    ...{ text: "**a** <script>", format: "markdown" },
    html: "<p><strong>a</strong> &lt;script&gt;</p>",
  });
});

test("who is named is mentioned, in the text and beside it, also in a plain text", async () => {
  const message = await say("ada", { text: "hi @bob & @mia", mentions: { users: ["bob", "ada", "bob"] } });
  expect(message).toMatchObject({
    text: "hi @bob & @mia",
    html: 'hi <span data-mention="bob">@Bob &lt;3</span> &amp; @mia',
    mentions: { users: ["bob", "ada"], room: false },
  });
  const markdown = await say("ada", { text: "*@bob*", format: "markdown", mentions: { users: ["bob"] } });
  expect(markdown.html).toBe('<p><em><span data-mention="bob">@Bob &lt;3</span></em></p>');
});

test("a reply shows what it answers as that is now, and mentions its author", async () => {
  const question = await say("bob", { text: "x".repeat(300) });
  const answer = await say("ada", { text: "yes", replyTo: question.id });
  expect(answer).toMatchObject({
    replyTo: {
      id: question.id,
      number: question.number,
      text: "x".repeat(200),
      deleted: false,
      sender: { user: "bob" },
    },
    mentions: { users: ["bob"], room: false },
  });
  expect((await say("bob", { text: "and", replyTo: question.id })).mentions.users).toEqual([]);
  await people.bob("PATCH", `${path}/${question.id}`, { body: { text: "seven?" } });
  const now = async () => (await people.ada("GET", `${path}/${answer.id}`)).body;
  expect(await now()).toMatchObject({ replyTo: { text: "seven?" } });
  await people.bob("DELETE", `${path}/${question.id}`);
  expect(await now()).toMatchObject({ replyTo: { text: "", deleted: true } });
});

test("an edit brings its own HTML and mentions, and keeps kind and reply", async () => {
  const question = await say("bob", { text: "seven?" });
  const { id } = await say("ada", { text: "*no*", kind: "notice", format: "markdown", replyTo: question.id });
  const body = { text: "**@bob**", format: "markdown", mentions: { users: ["bob"] } };
  const edited = await people.ada("PATCH", `${path}/${id}`, { body });
  expect(edited.status).toBe(202);
  const shown = {
    ...{ kind: "notice", text: "**@bob**", mentions: { users: ["bob"], room: false } },
    html: '<p><strong><span data-mention="bob">@Bob &lt;3</span></strong></p>',
    replyTo: { id: question.id },
  };
  expect(edited.body).toMatchObject(shown);
  await people.ada("PATCH", `${path}/${id}`, { body: { text: "plain again" } });
  expect((await people.ada("GET", `${path}/${id}`)).body).toMatchObject({
    // Whom it answers is mentioned all the same.
    ...{ text: "plain again", format: "plain", html: null, mentions: { users: ["bob"], room: false } },
  });
});

test.each(["POST", "PATCH"])("%s is refused with the field that is wrong", async (method) => {
  const own = await say("ada", { text: "mine" });
  const to = method === "POST" ? path : `${path}/${own.id}`;
  const refused = async (body: Record<string, unknown>) => {
    const { status, body: problem } = await people.ada(method, to, { body: { text: "x", ...body } });
    return [status, ((problem as { errors?: { path: string }[] }).errors ?? []).map((error) => error.path)];
  };
  expect(await refused({ mentions: { users: ["bob", "zoe", "nobody"] } })).toEqual([
    422,
    ["mentions.users[1]", "mentions.users[2]"],
  ]);
  expect(await refused({ mentions: { users: Array.from({ length: 51 }, () => "bob") } })).toEqual([
    422,
    ["mentions.users"],
  ]);
  expect(await refused({ format: "html" })).toEqual([422, ["format"]]);
  // Its HTML takes more than an event may.
  expect(await refused({ text: "&".repeat(10_000), format: "markdown" })).toEqual([413, []]);
});

test("a reply to what is no message of the room is refused", async () => {
  const elsewhere = await say("bob", { text: "there" }, "/v1/rooms/group/elsewhere/messages");
  for (const replyTo of [elsewhere.id, newId()]) {
    const { status, body } = await people.ada("POST", path, { body: { text: "x", replyTo } });
    expect([status, body]).toMatchObject([422, { errors: [{ path: "replyTo" }] }]);
  }
});

test("moderators mention everybody; members may not", async () => {
  const body = { text: "all", mentions: { room: true } };
  expect((await say("mia", body)).mentions).toEqual({ users: [], room: true });
  expect((await people.ada("POST", path, { body })).status).toBe(403);
});

test("who is not in the room learns nothing of its members and messages", async () => {
  const { id } = await say("ada", { text: "inside" });
  for (const more of [{ replyTo: id }, { mentions: { users: ["ada"] } }, { mentions: { users: ["nobody"] } }])
    expect((await people.zoe("POST", path, { body: { text: "x", ...more } })).status).toBe(404);
});

test("a repeated request is the same message, although whom it names has left; another body under its id is refused", async () => {
  await tenant.server("PUT", `${room}/members/tim`, { body: { role: "member" } });
  const body = { text: "@tim", mentions: { users: ["tim"] }, clientId: "repeated" };
  const first = await say("ada", body);
  await tenant.server("DELETE", `${room}/members/tim`);
  const again = await people.ada("POST", path, { body });
  expect(again.headers.get("idempotency-replayed")).toBe("true");
  expect(again.body).toMatchObject({ id: first.id });
  for (const other of [
    { ...body, kind: "emote" },
    { text: "@tim", clientId: "repeated" },
  ])
    expect((await people.ada("POST", path, { body: other })).body).toMatchObject({
      code: "idempotency_key_reused",
    });
});

test("a repeated edit is the same act, although whom it names has left; with another text it is refused", async () => {
  const { id } = await say("ada", { text: "hello" });
  await tenant.server("PUT", `${room}/members/tom`, { body: { role: "member" } });
  const body = {
    text: "**@tom**",
    format: "markdown",
    mentions: { users: ["tom", "bob"] },
    clientId: "edited",
  };
  const first = await people.ada("PATCH", `${path}/${id}`, { body });
  expect(first.body).toMatchObject({ mentions: { users: ["tom", "bob"] } });
  await tenant.server("DELETE", `${room}/members/tom`);
  const again = await people.ada("PATCH", `${path}/${id}`, { body });
  expect(again.headers.get("idempotency-replayed")).toBe("true");
  expect(again.body).toMatchObject({
    text: body.text,
    act: { id: (first.body as { act: { id: string } }).act.id },
  });
  const other = await people.ada("PATCH", `${path}/${id}`, { body: { ...body, text: "@tom" } });
  expect(other.body).toMatchObject({ code: "idempotency_key_reused" });
  const unused = await people.ada("PATCH", `${path}/${id}`, { body: { ...body, clientId: "unused" } });
  expect(unused.body).toMatchObject({ code: "invalid", errors: [{ path: "mentions.users[0]" }] });
});

test("who was deleted is nobody to clients, and stays the same person", async () => {
  await tenant.server("PUT", "/v1/users/ted", { body: { displayName: "Ted" } });
  await tenant.server("PUT", `${room}/members/ted`, { body: { role: "member" } });
  const ted = await tenant.user("ted");
  const question = (await ted("POST", path, { body: { text: "seven?" } })).body as MessageResource;
  const reaction = await ted("PUT", `${path}/${question.id}/reactions/%2B`);
  expect(reaction.status).toBe(202);
  const answer = await say("ada", { text: "yes", replyTo: question.id });
  expect(answer).toMatchObject({ replyTo: { sender: { user: "ted", displayName: "Ted" } } });
  expect((await tenant.server("DELETE", "/v1/users/ted")).status).toBeLessThan(300);
  const nobody = { ref: question.sender.ref, user: null, displayName: null, avatar: null };
  const read = async (of: string) => (await people.ada("GET", `${path}/${of}`)).body;
  expect(await read(question.id)).toMatchObject({ sender: nobody, reactions: [{ count: 1, users: [] }] });
  expect(await read(answer.id)).toMatchObject({ replyTo: { sender: nobody } });
  const reactions = await people.ada("GET", `${path}/${question.id}/reactions`);
  expect(reactions.body).toMatchObject({ items: [{ key: "+", user: nobody }] });
});

test("a list of rooms shows the beginning of the last message, without HTML", async () => {
  await say("ada", { text: `**${"x".repeat(300)}**`, format: "markdown" });
  const { body } = await people.bob("GET", "/v1/me/rooms");
  const { items } = body as { items: { room: string; lastMessage: MessageResource | null }[] };
  const last = items.find((item) => item.room === "group:shapes")?.lastMessage;
  expect(last).toMatchObject({ text: `**${"x".repeat(198)}`, format: "markdown", html: null, reactions: [] });
});
