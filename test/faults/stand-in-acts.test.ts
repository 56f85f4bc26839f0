import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { randomBytes } from "node:crypto";
import { readTestSynapse } from "../support/stack-servers.ts";
import { openStandIn, type StandIn } from "./environment/homeserver/stand-in.ts";
import { createRandom } from "./environment/random.ts";

type Answer = { status: number; body: Record<string, unknown> };

let standIn: StandIn;
beforeAll(async () => {
  standIn = await openStandIn({
    serverName: "stand-in.test",
    asToken: randomBytes(16).toString("hex"),
    random: createRandom(1),
  });
});
afterAll(() => standIn.stop());

const servers: [string, () => { url: string; serverName: string; asToken: string }][] = [
  ["the stand-in", () => standIn],
  ["a real Synapse", readTestSynapse],
];

// The product relies on this. Both servers must pass: where they differ, a test on the stand-in proves nothing.
describe.each(servers)("%s", (_name, readServer) => {
  const run = randomBytes(6).toString("hex");
  const userId = (name: string) => `@omc_${run}_${name}:${readServer().serverName}`;
  let roomId: string;
  let message: string;

  async function call(name: string | null, method: string, path: string, body?: unknown): Promise<Answer> {
    const { url, asToken } = readServer();
    const target = new URL(`${url}/_matrix/client/v3${path}`);
    if (name !== null) target.searchParams.set("user_id", userId(name));
    if (name !== null && !path.startsWith("/devices")) target.searchParams.set("device_id", "OPENMEET");
    const response = await fetch(target, {
      method,
      headers: { authorization: `Bearer ${asToken}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  const inRoom = (rest: string) => `/rooms/${encodeURIComponent(roomId)}/${rest}`;
  const outcome = ({ status, body }: Answer) =>
    status === 200 ? "200" : `${status} ${String(body["errcode"])}`;
  let count = 0;
  const send = (name: string, type: string, content: unknown) =>
    call(name, "PUT", inRoom(`send/${type}/${run}-${++count}`), content);
  const relate = (name: string, type: string, relation: unknown) =>
    send(name, type, { msgtype: "m.text", body: "* b", "m.relates_to": relation });
  const redact = (name: string, eventId: string, body: unknown = {}) =>
    call(name, "PUT", inRoom(`redact/${encodeURIComponent(eventId)}/${run}-${++count}`), body);
  const read = async (eventId: string) =>
    (await call("bot", "GET", inRoom(`event/${encodeURIComponent(eventId)}`))).body;

  beforeAll(async () => {
    for (const name of ["bot", "ada", "bob"]) {
      const username = `omc_${run}_${name}`;
      await call(null, "POST", "/register", {
        ...{ type: "m.login.application_service", username, inhibit_login: true },
      });
      await call(name, "PUT", "/devices/OPENMEET", { display_name: "test" });
    }
  });
  beforeEach(async () => {
    const { body } = await call("bot", "POST", "/createRoom", { room_version: "11", preset: "private_chat" });
    roomId = String(body["room_id"]);
    for (const name of ["ada", "bob"]) {
      await call("bot", "POST", inRoom("invite"), { user_id: userId(name) });
      await call(name, "POST", inRoom("join"), {});
    }
    message = String(
      (await send("ada", "m.room.message", { msgtype: "m.text", body: "a" })).body["event_id"],
    );
  });

  test("refuses a relation to an event that it does not know, without a code that says so", async () => {
    const unknown = `$${"a".repeat(43)}`;
    const edit = await relate("ada", "m.room.message", { rel_type: "m.replace", event_id: unknown });
    const reaction = await relate("ada", "m.reaction", {
      rel_type: "m.annotation",
      event_id: unknown,
      key: "+1",
    });
    expect([edit, reaction].map(outcome)).toEqual(["400 M_UNKNOWN", "400 M_UNKNOWN"]);
  });

  test("takes a person's reaction once with each key, and again after its redaction", async () => {
    const react = (name: string, key: string) =>
      relate(name, "m.reaction", { rel_type: "m.annotation", event_id: message, key });
    const first = await react("ada", "+1");
    const others = [await react("ada", "+1"), await react("ada", "-1"), await react("bob", "+1")];
    await redact("ada", String(first.body["event_id"]));
    expect([first, ...others, await react("ada", "+1")].map(outcome)).toEqual([
      ...["200", "400 M_DUPLICATE_ANNOTATION", "200", "200", "200"],
    ]);
  });

  test("empties what is redacted, and keeps the reason and the marker in the redaction", async () => {
    const marked = { reason: "spam", "org.openmeet.message": "a marker" };
    const redaction = await redact("bot", message, marked);

    const emptied = await read(message);
    expect(emptied["content"]).toEqual({});
    expect(emptied["unsigned"]).toMatchObject({ redacted_because: { sender: userId("bot") } });
    expect(await read(String(redaction.body["event_id"]))).toMatchObject({
      type: "m.room.redaction",
      content: { ...marked, redacts: message },
    });
  });

  test("lets people redact their own events and moderators those of others, but no event that is not there", async () => {
    expect([
      outcome(await redact("bob", message)),
      outcome(await redact("ada", message)),
      outcome(await redact("ada", `$${"a".repeat(43)}`)),
    ]).toEqual(["403 M_FORBIDDEN", "200", "404 M_NOT_FOUND"]);
  });
});
