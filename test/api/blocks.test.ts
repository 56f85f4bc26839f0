import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { rowsOf } from "../../shared/db/connection/open.ts";
import { listenTo } from "../support/live-channel.ts";
import { until } from "../support/wait.ts";
import { openApiWorld, type ApiWorld, type Ask, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("blocks");
});
afterAll(() => world.close());

/** Two people of these names, each as a caller, with their direct room. */
async function pair(one: string, other: string): Promise<{ a: Ask; b: Ask; room: string }> {
  for (const user of [one, other]) await tenant.server("PUT", `/v1/users/${user}`);
  const [a, b] = [await tenant.user(one), await tenant.user(other)];
  await a("PUT", "/v1/rooms/direct", { body: { user: other } });
  return { a, b, room: `/v1/rooms/direct/${[one, other].sort().join("~")}` };
}

const say = (ask: Ask, room: string, text = "hello") => ask("POST", `${room}/messages`, { body: { text } });

type Row = { is_blocked: boolean; members_desired_version: number; is_lowered: boolean };

async function readRoom(slug: string): Promise<Row | undefined> {
  const [row] = await rowsOf<Row>(
    world.db,
    `select is_blocked, members_desired_version, rights_lowered_at is not null as is_lowered from rooms
      where tenant_id = ? and slug = ? and deleted_at is null`,
    [tenant.row.id, slug],
  );
  return row;
}

test("a block shuts the direct room for both, except reading and deleting, until it ends", async () => {
  const { a, b, room } = await pair("ann", "ben");
  const mine = (await say(a, room, "of ann")).body as { id: string };
  const theirs = (await say(b, room, "of ben")).body as { id: string };
  expect(await a("PUT", "/v1/me/blocks/ben")).toMatchObject({
    status: 200,
    body: { user: { user: "ben" }, at: expect.any(String) as unknown },
  });
  for (const [ask, own, other] of [
    [a, mine, theirs],
    [b, theirs, mine],
  ] as const) {
    expect(await say(ask, room)).toMatchObject({ status: 403, body: { code: "forbidden" } });
    for (const [method, path, body] of [
      ["PATCH", `messages/${own.id}`, { text: "edited" }],
      ["PUT", `messages/${other.id}/reactions/👍`, undefined],
      ["PUT", "typing", { typing: true }],
    ] as const)
      expect((await ask(method, `${room}/${path}`, { body })).status).toBe(403);
    expect(await ask("GET", `${room}/messages`)).toMatchObject({ status: 200 });
    expect((await ask("PUT", `${room}/read`, { body: { number: 2 } })).status).toBe(200);
    expect(await ask("GET", `${room}/receipts`)).toMatchObject({ status: 200, body: { items: [] } });
  }
  expect((await a("DELETE", `${room}/messages/${mine.id}`)).status).toBeLessThan(300);
  expect((await b("DELETE", `${room}/messages/${theirs.id}`)).status).toBeLessThan(300);
  expect(await a("DELETE", "/v1/me/blocks/ben")).toMatchObject({ status: 204 });
  for (const ask of [a, b]) expect((await say(ask, room)).status).toBeLessThan(300);
  expect(await a("GET", `${room}/receipts`)).toMatchObject({
    body: { items: [{ user: { user: "ann" } }, { user: { user: "ben" } }] },
  });
});

test("who reads a blocked room sends no receipt", async () => {
  const { a, b, room } = await pair("una", "vic");
  await say(a, room);
  const [row] = await rowsOf<{ id: string }>(world.db, "select id from rooms where slug = 'una~vic'", []);
  const channel = await listenTo(world.redis, row?.id ?? "");
  await a("PUT", "/v1/me/blocks/vic");
  await b("PUT", `${room}/read`, { body: { number: 1 } });
  await a("DELETE", "/v1/me/blocks/vic");
  await say(a, room);
  await b("PUT", `${room}/read`, { body: { number: 2 } });
  const receipts = () => channel.published.filter(({ type }) => type === "receipt");
  await until(() => receipts().length > 0, "a receipt was published");
  expect(receipts()).toMatchObject([{ user: { user: "vic" }, number: 2 }]);
  channel.close();
});

test("nobody opens a direct room with somebody whom a block stands between, from either side", async () => {
  const { a, b } = await pair("cia", "dex");
  await a("PUT", "/v1/me/blocks/dex");
  for (const [ask, user] of [
    [a, "dex"],
    [b, "cia"],
  ] as const)
    expect(await ask("PUT", "/v1/rooms/direct", { body: { user } })).toMatchObject({
      status: 403,
      body: { code: "forbidden" },
    });
  for (const user of ["eli", "fay"]) await tenant.server("PUT", `/v1/users/${user}`);
  await (
    await tenant.user("eli")
  )("PUT", "/v1/me/blocks/fay");
  // The backend makes the room all the same: shut.
  await tenant.server("PUT", "/v1/rooms/direct", { body: { users: ["eli", "fay"] } });
  expect(await readRoom("eli~fay")).toMatchObject({ is_blocked: true });
  expect((await say(await tenant.user("fay"), "/v1/rooms/direct/eli~fay")).status).toBe(403);
});

test("the room stays shut while either of two blocks stands, and each change makes the members due on Matrix", async () => {
  const { a, b } = await pair("gus", "hal");
  const versions = [(await readRoom("gus~hal"))?.members_desired_version ?? 0];
  const steps: [Ask, string, string, boolean, boolean][] = [
    [a, "PUT", "hal", true, true],
    [a, "PUT", "hal", true, false],
    [b, "PUT", "gus", true, false],
    [a, "DELETE", "hal", true, false],
    [b, "DELETE", "gus", false, true],
    [b, "DELETE", "gus", false, false],
  ];
  for (const [ask, method, user, isBlocked, isDue] of steps) {
    await ask(method, `/v1/me/blocks/${user}`);
    const row = await readRoom("gus~hal");
    expect(row?.is_blocked).toBe(isBlocked);
    expect((row?.members_desired_version ?? 0) - (versions.at(-1) ?? 0)).toBe(isDue ? 1 : 0);
    expect(row?.is_lowered).toBe(true);
    versions.push(row?.members_desired_version ?? 0);
  }
});

test("a block concerns no other room", async () => {
  const { a, b } = await pair("ida", "jan");
  await tenant.server("PUT", "/v1/rooms/group/both", {
    body: { name: "Both", members: [{ user: "ida" }, { user: "jan" }] },
  });
  await a("PUT", "/v1/me/blocks/jan");
  for (const ask of [a, b]) expect((await say(ask, "/v1/rooms/group/both")).status).toBeLessThan(300);
});

test("a block ends with either person: the next one of the name is not blocked", async () => {
  for (const [blocker, blocked] of [
    ["kim", "leo"],
    ["moe", "ned"],
  ] as const) {
    const { a } = await pair(blocker, blocked);
    await a("PUT", `/v1/me/blocks/${blocked}`);
    const gone = blocker === "kim" ? "leo" : "moe";
    await tenant.server("DELETE", `/v1/users/${gone}`);
    await tenant.server("PUT", `/v1/users/${gone}`);
    await tenant.server("PUT", "/v1/rooms/direct", { body: { users: [blocker, blocked] } });
    expect(await readRoom(`${blocker}~${blocked}`)).toMatchObject({ is_blocked: false });
  }
  expect(await (await tenant.user("kim"))("GET", "/v1/me/blocks")).toMatchObject({
    body: { items: [], next: null },
  });
});

test("a person lists own blocks in pages, and nobody else's", async () => {
  await tenant.server("PUT", "/v1/users/ona");
  const ona = await tenant.user("ona");
  for (const user of ["p1", "p2", "p3"]) {
    await tenant.server("PUT", `/v1/users/${user}`, { body: { displayName: `Person ${user}` } });
    await ona("PUT", `/v1/me/blocks/${user}`);
  }
  const first = await ona("GET", "/v1/me/blocks?limit=2");
  const { next } = first.body as { next: string };
  expect(first).toMatchObject({
    body: { items: [{ user: { user: "p1", displayName: "Person p1" } }, { user: { user: "p2" } }] },
  });
  expect(await ona("GET", `/v1/me/blocks?limit=2&cursor=${next}`)).toMatchObject({
    body: { items: [{ user: { user: "p3" } }], next: null },
  });
  expect(await (await tenant.user("p1"))("GET", "/v1/me/blocks")).toMatchObject({ body: { items: [] } });
});

test("myself, an unknown user and a locked caller are refused, and so is the block after a thousand", async () => {
  for (const user of ["quy", "rex"]) await tenant.server("PUT", `/v1/users/${user}`);
  const quy = await tenant.user("quy");
  expect(await quy("PUT", "/v1/me/blocks/quy")).toMatchObject({
    status: 422,
    body: { errors: [{ path: "user" }] },
  });
  expect(await quy("PUT", "/v1/me/blocks/nobody")).toMatchObject({ status: 404 });
  expect(await quy("DELETE", "/v1/me/blocks/nobody")).toMatchObject({ status: 204 });
  const other = await world.tenant("blocks-other");
  await other.server("PUT", "/v1/users/zoe");
  expect(await quy("PUT", "/v1/me/blocks/zoe")).toMatchObject({ status: 404 });
  await tenant.server("POST", "/v1/users", {
    body: { users: Array.from({ length: 1_000 }, (_, n) => ({ user: `many${n}` })) },
  });
  await rowsOf(
    world.db,
    `insert into blocks (user_id, blocked_id)
     select q.id, u.id from users q join users u on u.tenant_id = q.tenant_id and u.external_id like 'many%'
      where q.tenant_id = ? and q.external_id = 'quy' returning 1`,
    [tenant.row.id],
  );
  expect(await quy("PUT", "/v1/me/blocks/rex")).toMatchObject({ status: 409, body: { code: "conflict" } });
  expect((await quy("PUT", "/v1/me/blocks/many1")).status).toBe(200);
  await tenant.server("PUT", "/v1/users/quy/lock");
  expect((await quy("PUT", "/v1/me/blocks/rex")).status).toBe(403);
});

test("a block and the opening of the room at the same moment end in a shut room", async () => {
  for (let round = 0; round < 8; round++) {
    const [one, other] = [`s${round}`, `t${round}`];
    for (const user of [one, other]) await tenant.server("PUT", `/v1/users/${user}`);
    const [a, b] = [await tenant.user(one), await tenant.user(other)];
    const [blocked] = await Promise.all([
      a("PUT", `/v1/me/blocks/${other}`),
      b("PUT", "/v1/rooms/direct", { body: { user: one } }),
    ]);
    expect(blocked.status).toBe(200);
    const row = await readRoom(`${one}~${other}`);
    expect(row === undefined || row.is_blocked).toBe(true);
  }
});
