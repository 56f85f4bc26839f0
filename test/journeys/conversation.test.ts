import { expect, test } from "@jest/globals";
import { ClientExample } from "../support/journey/client-example.ts";
import { roomPath, type Socket } from "../support/journey/clients.ts";
import { messagesOf, useJourney } from "../support/journey/journey.ts";
import { waitUntil } from "../support/stack-wait.ts";

const journey = useJourney();

test("every socket of every member receives a message with its number, once and in order, and then that Matrix has it", async () => {
  const { tenant } = journey;
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom("group:chess", { members: [{ user: "ada", role: "owner" }, { user: "bob" }] });
  const sockets = await Promise.all([ada, ada, bob, bob].map((person) => tenant.socket(person)));

  const texts = ["Hello", "Anyone for a game?", "♞ to f3 – ok"];
  const answers = [];
  for (const text of texts) answers.push(await ada.say("group:chess", text));
  const last = answers.at(-1)?.number ?? 0;

  for (const socket of sockets) {
    await socket.waitFor("all are received", () => socket.texts("group:chess").length >= texts.length);
    await socket.waitFor("all are sent", () => (sentNumbers(socket).at(-1) ?? 0) >= last);
    expect(socket.texts("group:chess")).toEqual(texts);
    expect(messagesOf(socket.in("group:chess")).map(({ id, number }) => [id, number])).toEqual(
      answers.map(({ id, number }) => [id, number]),
    );
    expect(sentNumbers(socket)).toEqual(sentNumbers(socket).toSorted((one, other) => one - other));
  }
  expect(await bob.read("group:chess")).toMatchObject({ sentUpTo: last });
  expect(await tenant.server.room("group:chess")).toMatchObject({ sentUpTo: last });
});

function sentNumbers(socket: Socket): number[] {
  return socket
    .in("group:chess", { numbered: false })
    .flatMap(({ data }) => (data.type === "sent" ? [data.number] : []));
}

test("a new room is read from /sync, and its messages from the stream of events", async () => {
  const { tenant } = journey;
  const [ada] = await tenant.people("ada");
  const socket = await tenant.socket(ada);
  const before = await countReads();
  await tenant.server.putRoom("group:read", { members: [{ user: "ada" }] });
  await socket.waitFor("the room is subscribed", () => socket.subscription("group:read") !== undefined);
  for (const text of ["one", "two", "three"]) {
    await ada.say("group:read", text);
    await socket.waitFor("the message is received", () => socket.texts("group:read").includes(text));
    await tenant.settled("group:read");
  }
  const after = await countReads();
  expect(after.sync - before.sync).toBeGreaterThanOrEqual(1);
  expect(after.events - before.events).toBeGreaterThanOrEqual(2);
});

async function countReads(): Promise<{ sync: number; events: number }> {
  const metrics = await journey.tier("sync").metrics();
  const count = (from: string): number =>
    Number(new RegExp(`^omc_sync_reads_total\\{from="${from}"\\} (\\d+)`, "m").exec(metrics)?.[1] ?? 0);
  return { sync: count("sync"), events: count("events") };
}

test("the list of messages returns what a socket received, with the position from which the socket goes on", async () => {
  const { tenant } = journey;
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom("group:books", { members: [{ user: "ada" }, { user: "bob" }] });
  const socket = await tenant.socket(bob);
  for (const text of ["first", "second", "third"]) await ada.say("group:books", text);
  await socket.waitFor("three messages", () => socket.texts("group:books").length === 3);
  await tenant.settled("group:books");

  const page = await bob.read("group:books");

  const received = messagesOf(socket.in("group:books"));
  expect(page.items.map(({ id, number, text }) => ({ id, number, text }))).toEqual(
    received.map(({ id, number, text }) => ({ id, number, text })),
  );
  expect(page.items.map(({ status, sender }) => [status, sender.user])).toEqual(
    Array(3).fill(["sent", "ada"]),
  );
  expect(page.epoch).toBe(socket.subscription("group:books")?.streamPosition?.epoch);
  expect(page.offset).toBe(socket.numbers("group:books").at(-1));
  expect(page).toMatchObject({ pending: [], hasMore: false });
});

test("a message in a new room from a user who does not exist on Matrix yet arrives", async () => {
  const { tenant } = journey;
  const rooms = Array.from({ length: 8 }, (_, index) => ({
    room: `event:new-${index}`,
    user: `newcomer-${index}`,
  }));

  const said = await Promise.all(
    rooms.map(async ({ room, user }) => {
      await tenant.server.putRoom(room, { members: [{ user, role: "speaker" }] });
      const person = await tenant.person(user);
      return { room, person, message: await person.say(room, `I am ${user}`) };
    }),
  );

  for (const { room, person, message } of said) {
    const sent = await journey.waitFor(`${room} has the message`, async () =>
      (await person.read(room)).items.find(({ status }) => status === "sent"),
    );
    expect(sent).toMatchObject({ id: message.id, text: `I am ${person.user}`, status: "sent" });
  }
});

test("a message posted again with the same key is one message, on Matrix too", async () => {
  const { tenant } = journey;
  const [ada] = await tenant.people("ada");
  await tenant.server.putRoom("group:twice", { members: [{ user: "ada" }] });

  const post = () =>
    ada.call("POST", roomPath("group:twice", "/messages"), { body: { text: "once", clientId: "c-1" } });
  const answers = await Promise.all(Array.from({ length: 10 }, post));
  await tenant.settled("group:twice");
  const late = await post();

  expect(new Set([...answers, late].map(({ body }) => (body as { id: string }).id)).size).toBe(1);
  expect(answers.filter(({ headers }) => headers.get("idempotency-replayed") === "true")).toHaveLength(9);
  expect(late.status).toBe(200);
  const matrixTexts = await journey.synapse.texts(
    await tenant.observer(),
    await tenant.matrixRoomId("group:twice"),
  );
  expect(matrixTexts).toEqual([{ sender: await tenant.matrixUserId("ada"), body: "once" }]);
});

test("a user's rooms have the number of unread messages, without the user's own", async () => {
  const { tenant } = journey;
  const [cleo, dan] = await tenant.people("cleo", "dan");
  await tenant.server.putRoom("group:unread", { members: [{ user: "cleo" }, { user: "dan" }] });

  for (const text of ["one", "two", "three"]) await cleo.say("group:unread", text);
  await tenant.settled("group:unread");
  expect(await dan.myRoom("group:unread")).toMatchObject({ unread: 3, lastMessage: { text: "three" } });
  expect(await cleo.myRoom("group:unread")).toMatchObject({ unread: 0 });

  await dan.say("group:unread", "four");
  await tenant.settled("group:unread");
  expect(await dan.myRoom("group:unread")).toMatchObject({ unread: 0, lastMessage: { text: "four" } });
  expect(await cleo.myRoom("group:unread")).toMatchObject({ unread: 1 });
});

test("a program that prefers to wait gets its response when the message is sent", async () => {
  const { tenant } = journey;
  const [ada] = await tenant.people("ada");
  await tenant.server.putRoom("group:patient", { members: [{ user: "ada" }] });

  const answer = await ada.call("POST", roomPath("group:patient", "/messages"), {
    body: { text: "sent?" },
    headers: { prefer: "wait=20" },
  });

  expect(answer.status).toBe(200);
  expect(answer.body).toMatchObject({ status: "sent", text: "sent?" });
});

test("messages that three members post at the same time have one order for every member", async () => {
  const { tenant } = journey;
  const people = await tenant.people("ada", "bob", "cleo");
  await tenant.server.putRoom("group:busy", { members: people.map(({ user }) => ({ user })) });
  const sockets = await Promise.all(people.map((person) => tenant.socket(person)));

  await Promise.all(
    people.map(async (person) => {
      for (let count = 1; count <= 15; count++) await person.say("group:busy", `${person.user} ${count}`);
    }),
  );

  const [first, ...others] = sockets;
  for (const socket of sockets)
    await socket.waitFor("45 messages", () => socket.texts("group:busy").length >= 45);
  for (const other of others) expect(other.texts("group:busy")).toEqual(first?.texts("group:busy"));
  for (const { user } of people) {
    const own = first?.texts("group:busy").filter((text) => text.startsWith(`${user} `));
    expect(own).toEqual(Array.from({ length: 15 }, (_, index) => `${user} ${index + 1}`));
  }
  await tenant.settled("group:busy");
  const matrixTexts = await journey.synapse.texts(
    await tenant.observer(),
    await tenant.matrixRoomId("group:busy"),
  );
  expect(matrixTexts.map(({ body }) => body)).toEqual(first?.texts("group:busy"));
});

test.each([
  ["ten thousand quotation marks", '"'.repeat(10_000)],
  ["emoji of four bytes", "🙂".repeat(2_500)],
  ["lines and tabs", "\tone\n\n\ttwo ".repeat(500)],
  ["a text that looks like markup and commands", "<b>*hi*</b> /kick @room #here $1 \\u0000 ${x} %s"],
])("%s in a message arrive unchanged", async (_, text) => {
  const { tenant } = journey;
  const [ada] = await tenant.people("ada");
  await tenant.server.putRoom("group:texts", { members: [{ user: "ada" }] });
  const socket = await tenant.socket(ada);
  await ada.say("group:texts", text);
  await socket.waitFor("the text is received", () => socket.texts("group:texts").includes(text));
  await tenant.settled("group:texts");
  expect((await ada.read("group:texts")).items.at(-1)?.text).toBe(text);
  const observer = await tenant.observer();
  const onMatrix = await journey.synapse.texts(observer, await tenant.matrixRoomId("group:texts"));
  expect(onMatrix.at(-1)?.body).toBe(text);
});

test("the example of docs/client.md shows a room from the first message to the removal, and says why it shows none before", async () => {
  const { tenant } = journey;
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom("group:example", { members: [{ user: "ada" }] });
  await ada.say("group:example", "before bob");
  const example = new ClientExample({
    apiUrl: journey.apiUrl,
    socketUrl: journey.socketUrl,
    room: "group:example",
    token: bob.token,
  });
  const shows = (what: string, line: string) =>
    waitUntil(`the example shows ${what}`, () => example.lines.at(-1) === line, {
      limitMs: 30_000,
      explain: () => example.lines.join("\n"),
    });
  const refusal = "group:example cannot be shown: 404 There is no such room.";
  try {
    await shows("that bob is not in the room", refusal);
    await tenant.server.putMember("group:example", "bob");
    await shows("what was there", "ada: before bob");
    await ada.say("group:example", "hello bob");
    await shows("a new message", "ada: before bob | ada: hello bob");
    example.send("hello ada");
    await shows("its own message", "ada: before bob | ada: hello bob | bob: hello ada");
    await tenant.settled("group:example");
    await tenant.server.removeMember("group:example", "bob");
    await shows("that bob is out of the room", refusal);
    expect(await example.end()).toBe(0);
  } finally {
    await example.remove();
  }
});
