import { beforeAll, expect, test } from "@jest/globals";
import { messageResource, type MessageResource } from "../../shared/contract/resources.ts";
import { roomPath, type Person } from "../support/journey/clients.ts";
import { required, useJourney } from "../support/journey/journey.ts";
import { NioClient } from "../support/journey/nio.ts";

const journey = useJourney();
const room = "group:shapes";
const LIMIT_MS = 60_000;

let people: { ada: Person; bob: Person };
let ids: { ada: string; bob: string };
let matrixRoomId: string;

beforeAll(async () => {
  const { tenant } = journey;
  people = { ada: await tenant.person("ada", "Ada"), bob: await tenant.person("bob", "Bob <3") };
  await tenant.server.putRoom(room, { members: [{ user: "ada", role: "moderator" }, { user: "bob" }] });
  // Who writes is joined on Matrix.
  await people.ada.say(room, "I am Ada", { waitS: 20 });
  await people.bob.say(room, "I am Bob", { waitS: 20 });
  await tenant.settled(room);
  matrixRoomId = await tenant.matrixRoomId(room);
  ids = { ada: await tenant.matrixUserId("ada"), bob: await tenant.matrixUserId("bob") };
}, LIMIT_MS);

const open = async (who: "ada" | "bob") => NioClient.open(await journey.tenant.matrixLogin(who));

async function post(who: "ada" | "bob", body: Record<string, unknown>): Promise<MessageResource> {
  const headers = { prefer: "wait=20" };
  const answer = await people[who].call("POST", roomPath(room, "/messages"), { body, headers });
  return messageResource.parse(answer.body);
}

/** The message that a text is, or becomes, as bob reads it. */
async function shown(text: string): Promise<MessageResource> {
  return journey.waitFor(`"${text}" is shown`, async () => {
    const { body } = await people.bob.call("GET", roomPath(room, "/messages?limit=50"));
    const { items } = body as { items: unknown[] };
    return items.map((item) => messageResource.parse(item)).find((message) => message.text === text);
  });
}

async function eventOf(client: NioClient, body: string): Promise<string> {
  const events = await client.readAll(matrixRoomId);
  return required(events.findLast(({ content }) => String(content["body"]).endsWith(body))).event;
}

test(
  "what people write with Markdown, mentions and replies stands on Matrix as plain clients read it, and comes back unchanged",
  async () => {
    const question = await post("bob", { text: "seven?", kind: "notice" });
    const answer = await post("ada", {
      ...{ text: "**yes** @bob <b>", format: "markdown", replyTo: question.id },
      mentions: { users: ["bob"], room: true },
    });
    await journey.tenant.settled(room);
    const events = await (await open("bob")).readAll(matrixRoomId);
    const [asked, said] = ["seven?", "**yes** @Bob <3 <b>"].map((body) =>
      required(events.filter(({ content }) => content["body"] === body)[0]),
    );
    expect(asked).toMatchObject({ sender: ids.bob, content: { msgtype: "m.notice", "m.mentions": {} } });
    expect(said).toMatchObject({
      sender: ids.ada,
      content: {
        ...{ msgtype: "m.text", format: "org.matrix.custom.html" },
        formatted_body: `<p><strong>yes</strong> <a href="https://matrix.to/#/${ids.bob}">Bob &lt;3</a> &lt;b&gt;</p>`,
        "m.mentions": { user_ids: [ids.bob], room: true },
        "m.relates_to": { "m.in_reply_to": { event_id: asked?.event } },
      },
    });
    const read = await people.bob.call("GET", roomPath(room, `/messages/${answer.id}`));
    expect(read.body).toMatchObject({ ...answer, status: "sent" });
  },
  LIMIT_MS,
);

test(
  "what a plain client writes with HTML, links to people, replies and threads is shown with their meaning, without Matrix ids",
  async () => {
    const client = await open("ada");
    const root = await client.send(matrixRoomId, "where?");
    await client.sendContent(matrixRoomId, {
      ...{ msgtype: "m.emote", body: `greets ${ids.bob}`, format: "org.matrix.custom.html" },
      formatted_body: `<i>greets</i> <a href="https://matrix.to/#/${ids.bob}">B</a><img src="mxc://x/y"><script>x</script>`,
      "m.mentions": { user_ids: [ids.bob], room: true },
    });
    const reply = { "m.in_reply_to": { event_id: root } };
    await client.sendContent(matrixRoomId, {
      ...{ msgtype: "m.text", body: `> <${ids.ada}> where?\n\nhere` },
      "m.relates_to": { rel_type: "m.thread", event_id: root, is_falling_back: false, ...reply },
    });
    expect(await shown("greets @Bob <3")).toMatchObject({
      ...{ kind: "emote", format: "markdown", sender: { user: "ada" } },
      html: '<em>greets</em> <span data-mention="bob">@Bob &lt;3</span>',
      mentions: { users: ["bob"], room: true },
    });
    const here = await shown("here");
    expect(here).toMatchObject({ replyTo: { text: "where?", sender: { user: "ada" }, deleted: false } });

    // Who knows no threads sees a reply to the last message of the thread: it answers the first one.
    const fallback = { "m.in_reply_to": { event_id: await eventOf(client, "here") } };
    await client.sendContent(matrixRoomId, {
      ...{ msgtype: "m.text", body: "or there" },
      "m.relates_to": { rel_type: "m.thread", event_id: root, is_falling_back: true, ...fallback },
    });
    expect(await shown("or there")).toMatchObject({ replyTo: { text: "where?" } });

    // An answer to a message of the thread stays in the thread.
    const answer = await post("bob", { text: "there", replyTo: here.id });
    expect(answer).toMatchObject({ replyTo: { id: here.id }, mentions: { users: ["ada"] } });
    const events = await client.readAll(matrixRoomId);
    const there = events.find(({ content }) => content["body"] === "there");
    expect(there).toMatchObject({ relation: "m.thread", target: root, sender: ids.bob });
  },
  LIMIT_MS,
);

test(
  "a member on a plain client mentions people, and not the room; links into Matrix are text, and no Matrix id is shown",
  async () => {
    const client = await open("bob");
    await client.sendContent(matrixRoomId, {
      ...{ msgtype: "m.notice", body: `${ids.ada}, see https://matrix.to/#/${matrixRoomId}` },
      ...{ format: "org.matrix.custom.html", "m.mentions": { user_ids: [ids.ada], room: true } },
      formatted_body:
        `<mx-reply>x</mx-reply><a href="https://matrix.to/#/${encodeURIComponent(ids.ada)}">${ids.ada}</a>, see ` +
        `<a href="https://matrix.to/#/${matrixRoomId}">the room</a>, <a href="https://example.org/">this</a>`,
    });
    expect(await shown("@Ada, see #room")).toMatchObject({
      ...{ kind: "notice", mentions: { users: ["ada"], room: false } },
      html:
        '<span data-mention="ada">@Ada</span>, see the room, ' +
        '<a href="https://example.org/" rel="nofollow noopener">this</a>',
    });
    const { body } = await people.bob.call("GET", roomPath(room, "/messages?limit=100"));
    const everything = JSON.stringify(body);
    for (const id of [ids.ada, ids.bob, matrixRoomId, "matrix.to", "mxc:"])
      expect(everything).not.toContain(id);
  },
  LIMIT_MS,
);

test(
  "stickers, polls, places and unknown messages of a plain client are notices that say what they are",
  async () => {
    const client = await open("bob");
    const send = (content: Record<string, unknown>, type?: string) =>
      client.sendContent(matrixRoomId, content, type);
    await send({ body: "a cat", url: "mxc://x/y", info: {} }, "m.sticker");
    const poll = { question: { body: "Where do we meet?", "org.matrix.msc1767.text": "Where do we meet?" } };
    await send(
      { "org.matrix.msc3381.poll.start": { ...poll, answers: [] } },
      "org.matrix.msc3381.poll.start",
    );
    await send({ msgtype: "m.location", body: "the café", geo_uri: "geo:1,2" });
    await send({ msgtype: "org.example.dice", body: "six" });
    for (const text of [
      "Sticker: a cat",
      "Poll: Where do we meet?",
      "Location: the café",
      "Unsupported message: six",
    ])
      expect(await shown(text)).toMatchObject({ kind: "notice", sender: { user: "bob" } });
  },
  LIMIT_MS,
);
