import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { randomBytes } from "node:crypto";
import { createRandom } from "./environment/random.ts";
import { openStandIn, type StandIn } from "./environment/homeserver/stand-in.ts";
import { readTestSynapse } from "../support/stack-servers.ts";

type Server = { url: string; serverName: string; asToken: string };
type Joined = Record<
  string,
  { timeline: { events: { content: { body?: string } }[]; limited: boolean; prev_batch: string } }
>;
type RouteResult = { status: number; body: Record<string, unknown> };

let standIn: StandIn;
beforeAll(async () => {
  standIn = await openStandIn({
    serverName: "stand-in.test",
    asToken: randomBytes(16).toString("hex"),
    random: createRandom(1),
  });
});
afterAll(() => standIn.stop());

const servers: [string, () => Server][] = [
  ["the stand-in", () => standIn],
  ["a real Synapse", readTestSynapse],
];

// The product relies on this. Both servers must pass: where they differ, a test on the stand-in proves nothing.
describe.each(servers)("%s", (_name, readServer) => {
  const run = randomBytes(6).toString("hex");
  const localpart = (name: string) => `omc_${run}_${name}`;
  const userId = (name: string) => `@${localpart(name)}:${readServer().serverName}`;

  async function call(
    name: string | null,
    method: string,
    path: string,
    body?: unknown,
    device: string | null = "OPENMEET",
  ): Promise<RouteResult> {
    const { url, asToken } = readServer();
    const target = new URL(`${url}/_matrix/client/v3${path}`);
    if (name !== null) target.searchParams.set("user_id", userId(name));
    if (name !== null && device !== null) target.searchParams.set("device_id", device);
    const response = await fetch(target, {
      method,
      headers: { authorization: `Bearer ${asToken}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  const outcome = ({ status, body }: RouteResult) =>
    status === 200 ? "200" : `${status} ${String(body["errcode"])}`;
  const room = (id: string, rest: string) => `/rooms/${encodeURIComponent(id)}/${rest}`;

  async function register(name: string): Promise<void> {
    await call(null, "POST", "/register", {
      type: "m.login.application_service",
      username: localpart(name),
      inhibit_login: true,
    });
    await call(name, "PUT", "/devices/OPENMEET", { display_name: "test" }, null);
  }

  async function openRoom(alias: string): Promise<string> {
    const { body } = await call("bot", "POST", "/createRoom", {
      room_version: "11",
      preset: "private_chat",
      room_alias_name: alias,
    });
    return String(body["room_id"]);
  }

  const send = (name: string, id: string, transaction: string, device?: string | null) =>
    call(
      name,
      "PUT",
      room(id, `send/m.room.message/${transaction}`),
      { msgtype: "m.text", body: transaction },
      device,
    );

  async function position(): Promise<string> {
    const filter = encodeURIComponent(
      JSON.stringify({ presence: { types: [] }, account_data: { types: [] }, room: { rooms: [] } }),
    );
    return String((await call("bot", "GET", `/sync?filter=${filter}&timeout=0`)).body["next_batch"]);
  }

  async function changes(since: string, limit: number): Promise<{ next: string; joined: Joined }> {
    const timeline = { limit, types: ["m.room.message", "m.room.create"] };
    const filter = encodeURIComponent(JSON.stringify({ room: { timeline } }));
    const { body } = await call("bot", "GET", `/sync?filter=${filter}&since=${since}&timeout=5000`);
    const rooms = body["rooms"] as { join?: Joined } | undefined;
    return { next: String(body["next_batch"]), joined: rooms?.join ?? {} };
  }

  beforeAll(async () => {
    for (const name of ["bot", "ada", "bob"]) await register(name);
  });

  test("refuses a second account and a second alias, and answers 404 for a missing alias", async () => {
    const again = await call(null, "POST", "/register", {
      type: "m.login.application_service",
      username: localpart("bot"),
      inhibit_login: true,
    });
    await openRoom(localpart("once"));
    const twice = await call("bot", "POST", "/createRoom", { room_alias_name: localpart("once") });
    const alias = (name: string) =>
      `/directory/room/${encodeURIComponent(`#${localpart(name)}:${readServer().serverName}`)}`;
    expect(
      [again, twice, await call("bot", "GET", alias("never")), await call("bot", "GET", alias("once"))].map(
        outcome,
      ),
    ).toEqual(["400 M_USER_IN_USE", "400 M_ROOM_IN_USE", "404 M_NOT_FOUND", "200"]);
  });

  test("lets an invited user join, and refuses every call of another user", async () => {
    const id = await openRoom(localpart("members"));
    const invite = () => call("bot", "POST", room(id, "invite"), { user_id: userId("ada") });
    const outcomes = [
      await send("ada", id, `${run}-out`),
      await call("ada", "POST", room(id, "join"), {}),
      await invite(),
      await call("ada", "POST", room(id, "join"), {}),
      await call("ada", "POST", room(id, "join"), {}),
      await invite(),
      await send("ada", id, `${run}-in`),
      await call("bot", "POST", room(id, "kick"), { user_id: userId("bob") }),
      await call("bot", "POST", room(id, "kick"), { user_id: userId("ada") }),
      await send("ada", id, `${run}-kicked`),
      await send("ada", "!never:stand-in.test", `${run}-never`),
      await call("bot", "GET", room(id, "state/m.room.topic")),
    ];
    expect(outcomes.map(outcome)).toEqual([
      "403 M_FORBIDDEN",
      "403 M_FORBIDDEN",
      "200",
      "200",
      "200",
      "403 M_FORBIDDEN",
      "200",
      "403 M_FORBIDDEN",
      "200",
      "403 M_FORBIDDEN",
      "403 M_FORBIDDEN",
      "404 M_NOT_FOUND",
    ]);
    const joined = async (name: string) =>
      ((await call(name, "GET", "/joined_rooms")).body["joined_rooms"] as string[]).includes(id);
    expect([await joined("bot"), await joined("ada")]).toEqual([true, false]);
  });

  test("answers a repeated transaction of a device with the same event, and makes another event in another room", async () => {
    const [first, second] = [await openRoom(localpart("txn1")), await openRoom(localpart("txn2"))];
    const events = [
      await send("bot", first, `${run}-t`),
      await send("bot", first, `${run}-t`),
      await send("bot", second, `${run}-t`),
    ];
    const [one, again, other] = events.map(({ body }) => body["event_id"]);
    expect(again).toBe(one);
    expect(other).not.toBe(one);
  });

  test("returns the events since a position, limits them, and pages through the gap in order", async () => {
    const id = await openRoom(localpart("gap"));
    const since = await position();
    expect(since).toMatch(/^s\d+_/);
    const bodies = Array.from({ length: 12 }, (_, index) => `${run}-g${index}`);
    for (const body of bodies) await send("bot", id, body);
    const { next, joined } = await changes(since, 5);
    const timeline = joined[id]?.timeline;
    expect(timeline?.limited).toBe(true);
    expect(timeline?.events.map(({ content }) => content.body)).toEqual(bodies.slice(7));
    const filter = encodeURIComponent(JSON.stringify({ types: ["m.room.message"] }));
    const found: unknown[] = [];
    let from: string | null = since;
    while (from !== null) {
      const { body }: RouteResult = await call(
        "bot",
        "GET",
        room(id, `messages?dir=f&from=${from}&to=${next}&limit=5&filter=${filter}`),
      );
      found.push(...(body["chunk"] as { content: { body?: string } }[]).map(({ content }) => content.body));
      from = typeof body["end"] === "string" && (body["chunk"] as unknown[]).length > 0 ? body["end"] : null;
    }
    expect(found).toEqual(bodies);
    const later = await changes(next, 5);
    expect(later.joined[id]).toBeUndefined();
  });

  type StreamEvent = { type: string; room_id: string; state_key?: string; content: Record<string, unknown> };

  async function stream(from: string, { limit = 100, timeout = 5_000 } = {}) {
    const { body } = await call("bot", "GET", `/events?from=${from}&limit=${limit}&timeout=${timeout}`);
    return { chunk: body["chunk"] as StreamEvent[], end: String(body["end"]) };
  }

  /** The current position. Unlike `/sync`, `/events` never repeats an earlier response. */
  async function now(): Promise<string> {
    return String((await call("bot", "GET", "/events?timeout=0")).body["end"]);
  }

  test("returns the stream of events page by page, without a gap, with positions that /sync accepts", async () => {
    const ids = [await openRoom(localpart("stream-one")), await openRoom(localpart("stream-two"))];
    const start = await now();
    const bodies = Array.from({ length: 7 }, (_, index) => `stream-${index}`);
    for (const [index, body] of bodies.entries()) await send("bot", ids[index % 2] ?? "", body);
    const received: string[] = [];
    let from = start;
    for (let page = 0; page < 3; page++) {
      const { chunk, end } = await stream(from, { limit: 3 });
      received.push(
        ...chunk.map(({ room_id, content }) => `${String(ids.indexOf(room_id))} ${String(content["body"])}`),
      );
      from = end;
    }
    expect(received).toEqual(bodies.map((body, index) => `${index % 2} ${body}`));
    await send("bot", ids[0] ?? "", "afterwards");
    const { joined } = await changes(from, 5);
    expect(Object.keys(joined)).toEqual([ids[0]]);
    expect(joined[ids[0] ?? ""]?.timeline.limited).toBe(false);
  });

  test("reports in the stream that its reader joined a room and left one", async () => {
    const start = await now();
    const asking = stream(start, { timeout: 20_000 });
    await openRoom(localpart("stream-new"));
    const { chunk } = await asking;
    const own = ({ type, state_key }: StreamEvent) => type === "m.room.member" && state_key === userId("bot");
    expect(chunk.filter(own).map(({ content }) => content["membership"])).toContain("join");

    const left = await openRoom(localpart("stream-left"));
    const before = await now();
    await call("bot", "POST", room(left, "leave"), {});
    const after = await stream(before);
    expect(after.chunk.filter(own).map(({ content }) => content["membership"])).toEqual(["leave"]);
  });

  test("refuses an invalid position, and accepts a future one without an error", async () => {
    expect(outcome(await call("bot", "GET", "/sync?since=nonsense&timeout=0"))).toBe("400 M_UNKNOWN");
    const now = await position();
    const ordinal = Number(/^s(\d+)/.exec(now)?.[1]);
    const future = now.replace(/^s\d+/, `s${ordinal + 1_000_000}`);
    const answer = await call("bot", "GET", `/sync?since=${future}&timeout=0`);
    expect(outcome(answer)).toBe("200");
    expect(Number(/^s(\d+)/.exec(String(answer.body["next_batch"]))?.[1])).toBeLessThan(ordinal + 1_000);
  });

  test("keeps one event when a state is set twice to the same content", async () => {
    const id = await openRoom(localpart("state"));
    const set = (name: string) => call("bot", "PUT", room(id, "state/m.room.name"), { name });
    const [first, again, other] = [await set("a"), await set("a"), await set("b")].map(
      ({ body }) => body["event_id"],
    );
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });

  test("returns an event by its id to a member of its room, and 404 for a missing event", async () => {
    const id = await openRoom(localpart("event"));
    const { body } = await send("bot", id, `${run}-e`);
    const event = (as: string, eventId: unknown) =>
      call(as, "GET", room(id, `event/${encodeURIComponent(String(eventId))}`));
    const found = await event("bot", body["event_id"]);
    expect(outcome(found)).toBe("200");
    expect(found.body["content"]).toMatchObject({ body: expect.any(String) });
    expect(outcome(await event("bot", `$${"A".repeat(43)}`))).toBe("404 M_NOT_FOUND");
  });

  test("redacts once for one transaction", async () => {
    const id = await openRoom(localpart("redact"));
    const { body } = await send("bot", id, `${run}-r`);
    const redact = () =>
      call("bot", "PUT", room(id, `redact/${encodeURIComponent(String(body["event_id"]))}/${run}-x`), {});
    const [first, again] = [await redact(), await redact()];
    expect([first, again].map(outcome)).toEqual(["200", "200"]);
    expect(again.body["event_id"]).toBe(first.body["event_id"]);
  });
});
