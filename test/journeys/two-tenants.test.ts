import { beforeAll, expect, test } from "@jest/globals";
import { Centrifuge } from "centrifuge";
import { WebSocket } from "ws";
import { newId } from "../../shared/platform/ids.ts";
import type { Answer, Backend, Person } from "../support/journey/clients.ts";
import { useJourney, type TenantSide } from "../support/journey/journey.ts";
import {
  OTHER_PROBES,
  ownCalls,
  routeProbes,
  withoutNames,
  type Names,
  type Probe,
} from "../support/two-tenants.ts";

const journey = useJourney();
const LIMIT_MS = 120_000;
/** In everything that the other tenant wrote. */
const SECRET = "acme-secret";
const PEOPLE = ["ada", "bob"] as const;
const SHARED = "group:chess";

type Side = { tenant: TenantSide; ada: Person; bob: Person; message: string };
let acme: Side;
let south: Side;
/** What acme alone has, and what nobody has. */
let theirs: Names;
let absent: Names;

/** The same people, rooms and keys in each; `mark` is in its texts alone. */
async function settle(tenant: TenantSide, mark: string): Promise<Side> {
  const [ada, bob] = await Promise.all(PEOPLE.map((user) => tenant.person(user, `${mark} ${user}`)));
  if (!ada || !bob) throw new Error("nobody is there");
  const members = [{ user: "ada", role: "owner" }, { user: "bob" }];
  await tenant.server.putRoom(SHARED, { name: `${mark} chess`, topic: mark, members });
  await tenant.server.putRoom("event:gala", { name: `${mark} gala`, visibility: "public", members });
  await tenant.server.call("PUT", "/v1/rooms/direct", { body: { users: ["ada", "bob"] } });
  const { id } = await ada.say(SHARED, `${mark} first`, { clientId: "same", waitS: 20 });
  await bob.call("PUT", `/v1/rooms/group/chess/messages/${id}/reactions/%2B`);
  return { tenant, ada, bob, message: id };
}

beforeAll(async () => {
  acme = await settle(journey.tenant, SECRET);
  south = await settle(await journey.createTenant("south"), "south");
  await journey.tenant.person("zed", `${SECRET} zed`);
  await journey.tenant.server.putRoom("group:hidden", {
    name: SECRET,
    members: [{ user: "zed" }, { user: "ada" }],
  });
  await acme.ada.say("group:hidden", `${SECRET} hidden`);
  for (const room of [SHARED, "event:gala", "direct:ada~bob", "group:hidden"])
    await journey.tenant.settled(room);
  await south.tenant.settled(SHARED);
  theirs = { room: "hidden", user: "zed", message: acme.message };
  absent = { room: "absent", user: "nil", message: newId() };
}, LIMIT_MS);

const caller = (as: Probe["as"]): Backend | Person => (as === "server" ? south.tenant.server : south.ada);

async function ask(probe: Omit<Probe, "what">, names: Names): Promise<Answer> {
  const body = probe.body(names);
  const headers = {
    ...probe.headers?.(names),
    ...(probe.method === "PATCH" && probe.as === "server" ? MERGE_PATCH : {}),
  };
  return caller(probe.as).call(probe.method, probe.path(names), {
    headers,
    ...(body === undefined ? {} : { body }),
  });
}

const MERGE_PATCH = { "content-type": "application/merge-patch+json" };

const worded = ({ status, body }: Answer, names: Names) => ({
  // 202 instead of 200: Matrix does not have it yet.
  status: status === 202 ? 200 : status,
  body: withoutNames(JSON.stringify(body), names),
});

/** What workers write when Matrix has followed, at any time. */
const APPLIED = "'{updated_at,applied,applied_level,applied_version,error}'";

/** What acme has, row by row, beside that. */
async function rowsOfAcme(): Promise<Record<string, unknown[]>> {
  const tables = [
    "users",
    "rooms",
    "memberships",
    "messages",
    "timeline",
    "reactions",
    "message_states",
    "room_timeline",
  ];
  const read = async (table: string) => [
    table,
    await journey.sql(
      `select to_jsonb(x) - cast(${APPLIED} as text[]) as row from ${table} x join tenants t on t.id = x.tenant_id
        where t.slug = 'acme' order by to_jsonb(x)::text`,
    ),
  ];
  return Object.fromEntries(await Promise.all(tables.map(read))) as Record<string, unknown[]>;
}

async function idsOfAcme(): Promise<string[]> {
  const text = JSON.stringify(await rowsOfAcme());
  return [...new Set(text.match(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g))];
}

test(
  "every call with another tenant's room, person or message is answered as one with names that nobody has, and changes nothing there",
  async () => {
    const before = await rowsOfAcme();
    const differing: unknown[] = [];
    const refused: string[] = [];
    for (const probe of [...routeProbes(), ...OTHER_PROBES]) {
      const [one, other] = [await ask(probe, theirs), await ask(probe, absent)];
      if (one.status >= 500 || one.status === 429 || one.status === 415)
        refused.push(`${probe.what}: ${String(one.status)}`);
      const [said, expected] = [worded(one, theirs), worded(other, absent)];
      if (JSON.stringify(said) !== JSON.stringify(expected))
        differing.push({ what: probe.what, said, expected });
      if (JSON.stringify(one.body).includes(SECRET)) differing.push({ what: probe.what, body: one.body });
    }
    expect(differing).toEqual([]);
    expect(refused).toEqual([]);
    expect(await rowsOfAcme()).toEqual(before);
  },
  LIMIT_MS,
);

test(
  "every list and every page holds one's own alone, also with another tenant's cursor",
  async () => {
    const foreign = await idsOfAcme();
    let cursors = 0;
    for (const call of ownCalls()) {
      const path = call.path(absent);
      const more = path.includes("?") ? "&" : "?";
      const first = await (call.as === "server" ? acme.tenant.server : acme.ada).call(
        "GET",
        `${path}${more}limit=1`,
      );
      const { next } = first.body as { next?: string | null };
      const pages = [await caller(call.as).call("GET", path)];
      if (typeof next === "string") {
        cursors++;
        pages.push(
          await caller(call.as).call("GET", `${path}${more}limit=1&cursor=${encodeURIComponent(next)}`),
        );
      }
      for (const { body } of pages) {
        const text = JSON.stringify(body);
        expect(text).not.toContain(SECRET);
        expect(foreign.filter((id) => text.includes(id))).toEqual([]);
      }
    }
    expect(cursors).toBeGreaterThan(3);
  },
  LIMIT_MS,
);

test("a client id that the other tenant's person of that name has used is a new one here", async () => {
  const { id, text } = await south.ada.say("event:gala", "south's own", { clientId: "of-both" });
  const other = await acme.ada.say("event:gala", SECRET, { clientId: "of-both" });
  expect(text).toBe("south's own");
  expect(other.id).not.toBe(id);
});

/** How the server refuses a subscription. */
async function refusalOf(channel: string): Promise<unknown> {
  const client = new Centrifuge(journey.socketUrl, { websocket: WebSocket, token: south.ada.token });
  try {
    return await new Promise((resolve, reject) => {
      const subscription = client.newSubscription(channel);
      subscription.on("error", ({ error }) => resolve(error));
      subscription.on("unsubscribed", ({ code, reason }) => resolve({ code, reason }));
      subscription.on("subscribed", () => reject(new Error(`${channel} was subscribed`)));
      subscription.subscribe();
      client.connect();
    });
  } finally {
    client.disconnect();
  }
}

test.each([
  ["a room", "group:hidden", "group:absent"],
  ["a person", "user:zed", "user:nil"],
])(
  "a socket that wants the channel of another tenant's is refused as for %s that nobody has",
  async (_, one, other) => {
    expect(await refusalOf(one)).toEqual(await refusalOf(other));
  },
);

test(
  "a socket receives nothing of the room that the other tenant has by the same name: no message, act, sign or position",
  async () => {
    const socket = await south.tenant.socket(south.ada);
    const own = await acme.tenant.socket(acme.ada);
    expect(socket.subscription(SHARED)?.streamPosition?.epoch).not.toBe(
      own.subscription(SHARED)?.streamPosition?.epoch,
    );
    const { id, number } = await acme.bob.say(SHARED, `${SECRET} live`, { waitS: 20 });
    await acme.bob.type(SHARED, true);
    await acme.ada.readUpTo(SHARED, number ?? 0);
    await acme.ada.call("PUT", `/v1/rooms/group/chess/messages/${id}/reactions/%2B`);
    await own.waitFor("acme receives all", () =>
      own.in(SHARED).some(({ data }) => data.type === "reaction.added"),
    );
    await own.waitFor("acme sees who types", () =>
      own.in(SHARED, { numbered: false }).some(({ data }) => data.type === "typing"),
    );
    // What comes after it is received after it.
    await south.bob.say(SHARED, "south's last");
    await socket.waitFor("the own message is received", () => socket.texts(SHARED).includes("south's last"));
    expect(JSON.stringify(socket.received)).not.toContain(SECRET);
    expect(JSON.stringify(socket.subscriptions)).not.toContain(SECRET);
    expect(
      socket.received.filter(({ data }) => data.type === "typing" || data.type === "reaction.added"),
    ).toEqual([]);
  },
  LIMIT_MS,
);

test("the people and rooms of both are others on the homeserver, and neither observer is in the other's room", async () => {
  const [mine, other] = [await south.tenant.matrixRoomId(SHARED), await acme.tenant.matrixRoomId(SHARED)];
  expect(mine).not.toBe(other);
  expect(await south.tenant.matrixUserId("ada")).not.toBe(await acme.tenant.matrixUserId("ada"));
  expect(await journey.synapse.joinedRooms(await south.tenant.observer())).not.toContain(other);
  expect(await journey.synapse.joinedRooms(await acme.tenant.observer())).not.toContain(mine);
});

test(
  "one tenant's end of everything leaves the other's as it is",
  async () => {
    const before = await rowsOfAcme();
    for (const room of ["group/chess", "event/gala"])
      await south.tenant.server.call("DELETE", `/v1/rooms/${room}`);
    for (const user of PEOPLE) await south.tenant.server.call("DELETE", `/v1/users/${user}`);
    expect((await acme.ada.read(SHARED)).items.map(({ text }) => text)).toContain(`${SECRET} first`);
    expect((await rowsOfAcme())["timeline"]).toEqual(before["timeline"]);
    expect((await rowsOfAcme())["memberships"]).toEqual(before["memberships"]);
  },
  LIMIT_MS,
);
