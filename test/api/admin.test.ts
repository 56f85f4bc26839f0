import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { signSession } from "../../api/admin/session.ts";
import { openQueues, closeQueues } from "../../shared/queues/open.ts";
import { createLog } from "../../shared/platform/log.ts";
import { openApiWorld, type ApiWorld, type Ask, type TestTenant } from "../support/api.ts";
import { until } from "../support/wait.ts";

let world: ApiWorld;
let tenant: TestTenant;
let operator: Ask;
let viewer: Ask;
let viewerKey: { id: string; key: string };

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("admin");
  operator = world.as((await tenant.key("operator")).key);
  viewerKey = await tenant.key("viewer");
  viewer = world.as(viewerKey.key);
});
afterAll(() => world.close());

const QUEUES = "/admin/queues/api/queues";

test("operators and viewers see every queue", async () => {
  for (const ask of [operator, viewer]) {
    const { status, body } = await ask("GET", QUEUES);
    expect(status).toBe(200);
    const names = (body as { queues: { name: string }[] }).queues.map(({ name }) => name);
    expect(names.sort()).toEqual([
      "erasure",
      "maintenance",
      "membership",
      "outbound-message",
      "provisioning",
      "room-sync",
      "timeline-consumer",
    ]);
  }
});

test("an operator can retry a job, which is audited, and a viewer cannot", async () => {
  const queues = openQueues(world.redis, createLog({ level: "silent", tier: "test" }));
  const job = await queues.maintenance.add("maintenance", { task: "sweep" }, { delay: 600_000 });
  const act = `${QUEUES}/maintenance/${job.id ?? ""}/promote`;
  expect(await viewer("PUT", act)).toMatchObject({ status: 403, body: { code: "forbidden" } });
  expect(await job.getState()).toBe("delayed");
  expect((await operator("PUT", act)).status).toBeLessThan(300);
  expect(await job.getState()).toBe("waiting");
  await closeQueues(queues);
  const { rows } = await world.db.raw<{ rows: unknown[] }>(
    "select action, subject from audit where action like 'queues.%'",
  );
  expect(rows).toEqual([
    { action: "queues.put", subject: `/api/queues/maintenance/${job.id ?? ""}/promote` },
  ]);
});

test("a viewer cannot pause, clean, empty or delete anything", async () => {
  for (const [method, path] of [
    ["PUT", "maintenance/pause"],
    ["PUT", "maintenance/empty"],
    ["PUT", "maintenance/obliterate"],
    ["POST", "maintenance/add"],
    ["DELETE", "maintenance/1"],
  ] as const) {
    expect((await viewer(method, `${QUEUES}/${path}`)).status).toBe(403);
  }
});

test("a server key and a user token do not open the operators' pages", async () => {
  expect(await tenant.server("GET", QUEUES)).toMatchObject({
    status: 403,
    body: { code: "wrong_credential" },
  });
  expect(await (await tenant.user("ada"))("GET", QUEUES)).toMatchObject({
    status: 403,
    body: { code: "wrong_credential" },
  });
  expect(await world.as(null)("GET", QUEUES)).toMatchObject({ status: 401, body: { code: "unauthorized" } });
});

test("a browser is redirected to the form, logs in with a key and has a session of eight hours", async () => {
  const anonymous = world.as(null);
  const page = await anonymous("GET", "/admin/queues", { headers: { accept: "text/html" } });
  expect([page.status, page.headers.get("location")]).toEqual([303, "/admin/login"]);
  const form = { "content-type": "application/x-www-form-urlencoded" };
  const login = await anonymous("POST", "/admin/login", { raw: `key=${viewerKey.key}`, headers: form });
  expect([login.status, login.headers.get("location")]).toEqual([303, "/admin"]);
  const setCookie = login.headers.get("set-cookie") ?? "";
  expect(setCookie).toMatch(/HttpOnly/);
  expect(setCookie).toMatch(/SameSite=Strict/);
  expect(setCookie).toMatch(/Max-Age=28800/);
  const cookie = setCookie.split(";")[0] ?? "";
  expect((await anonymous("GET", "/admin/queues", { headers: { cookie, accept: "text/html" } })).status).toBe(
    200,
  );
  expect((await anonymous("PUT", `${QUEUES}/maintenance/pause`, { headers: { cookie } })).status).toBe(403);
});

test("a login with a bad key or a server key is refused", async () => {
  const form = { "content-type": "application/x-www-form-urlencoded" };
  const { key } = await tenant.key("server");
  expect((await world.as(null)("POST", "/admin/login", { raw: "key=nope", headers: form })).status).toBe(401);
  expect((await world.as(null)("POST", "/admin/login", { raw: `key=${key}`, headers: form })).status).toBe(
    403,
  );
});

test("an ended session, a changed one and one of a revoked key are refused", async () => {
  const { sealKeys } = world.config;
  const look = async (session: string) =>
    (await world.as(null)("GET", QUEUES, { headers: { cookie: `omc_session=${session}` } })).status;
  expect(await look(signSession(sealKeys, viewerKey.id, Date.now() + 60_000))).toBe(200);
  expect(await look(signSession(sealKeys, viewerKey.id, Date.now() - 1))).toBe(401);
  expect(await look(signSession(sealKeys, viewerKey.id, Date.now() + 60_000).replace(/.$/, "!"))).toBe(401);
  const { id } = await tenant.key("operator");
  const session = signSession(sealKeys, id, Date.now() + 60_000);
  await world.db.raw("update api_keys set revoked_at = now() where id = ?", [id]);
  expect(await look(session)).toBe(401);
});

test("a logout ends its session for every copy of the cookie, and no other session", async () => {
  const { sealKeys } = world.config;
  const anonymous = world.as(null);
  const look = async (session: string) =>
    (await anonymous("GET", QUEUES, { headers: { cookie: `omc_session=${session}` } })).status;
  const logOut = (session: string) =>
    anonymous("POST", "/admin/logout", { headers: { cookie: `omc_session=${session}` } });
  const { id } = await tenant.key("operator");
  const [mine, other] = [60_000, 70_000].map((ms) => signSession(sealKeys, id, Date.now() + ms)) as [
    string,
    string,
  ];
  expect([await look(mine), await look(other)]).toEqual([200, 200]);
  const answer = await logOut(mine);
  expect([answer.status, answer.headers.get("location")]).toEqual([303, "/admin/login"]);
  expect(answer.headers.get("set-cookie")).toMatch(/^omc_session=;.*Expires=Thu, 01 Jan 1970/);
  expect([await look(mine), await look(other)]).toEqual([401, 200]);
  // Once more, and with sessions that open nothing: neither writes anything.
  await logOut(mine);
  await logOut(other.replace(/.$/, "!"));
  await logOut(signSession(sealKeys, "a".repeat(16), Date.now() + 60_000));
  expect(await world.db("audit").where({ action: "logout" }).select("actor", "tenant_id")).toEqual([
    { actor: id, tenant_id: tenant.row.id },
  ]);
});

test("jobs carry ids only", async () => {
  await tenant.server("PUT", "/v1/rooms/group/jobs", {
    body: { name: "Secret name", members: [{ user: "secret-user" }] },
  });
  await (
    await tenant.user("secret-user")
  )("POST", "/v1/rooms/group/jobs/messages", { body: { text: "secret words" } });
  await until(async () => {
    const { body } = await operator("GET", `${QUEUES}?activeQueue=outbound-message&status=waiting`);
    const text = JSON.stringify(body);
    expect(text).not.toMatch(/secret|hs\.test/i);
    return text.includes("roomId");
  }, "the wake-up is on the board");
});
