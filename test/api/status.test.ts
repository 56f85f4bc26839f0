import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import {
  readHomeserverStatuses,
  saveHomeserverStatus,
} from "../../shared/db/homeservers/homeserver-states.ts";
import { recordAttempt } from "../../shared/db/messages/delivery-attempts.ts";
import { newId } from "../../shared/platform/ids.ts";
import { createLog } from "../../shared/platform/log.ts";
import { shareHomeserverStates } from "../../workers/runtime/health/share-homeserver-states.ts";
import { openApiWorld, type ApiWorld, type Ask, type TestTenant } from "../support/api.ts";
import { until } from "../support/wait.ts";

let world: ApiWorld;
let tenant: TestTenant;
let operator: Ask;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("status");
  operator = world.as((await tenant.key("operator")).key);
  await tenant.server("PUT", "/v1/rooms/group/late", { body: { name: "Late", members: [{ user: "ada" }] } });
});
afterAll(() => world.close());
beforeEach(async () => {
  await world.db.raw(
    "delete from delivery_attempts; delete from messages; delete from homeserver_states; update room_outbox set accepted_count = 0",
  );
});

type Problem = { code: string; severity: string; detail: string; since: string };

async function degraded(): Promise<Problem[]> {
  const { status, body } = await world.as(null)("GET", "/readyz");
  expect(status).toBe(200);
  return (body as { degraded: Problem[] }).degraded;
}

const codes = async () => (await degraded()).map(({ code }) => code);

/** No worker runs here: a message waits. Returns its id. */
async function post(text: string): Promise<string> {
  const ada = await tenant.user("ada");
  const { status, body } = await ada("POST", "/v1/rooms/group/late/messages", { body: { text } });
  expect(status).toBe(202);
  return (body as { id: string }).id;
}

/** What a worker process reports of the tenant's homeserver. */
async function report(
  state: "up" | "down" | "refusing",
  detail: string | null,
  sinceMs = Date.now(),
): Promise<void> {
  const homeserverId = tenant.row.homeserver_id;
  await saveHomeserverStatus(world.db, {
    ...{ homeserverId, process: newId(), state, detail },
    since: new Date(sinceMs),
  });
}

test("the API is degraded by a homeserver only while messages wait for it", async () => {
  await report("up", null);
  await report("down", "The homeserver does not answer: no connection.", Date.now() - 90_000);
  await until(async () => (await codes()).length === 0, "nothing waits");
  await post("one");
  await until(async () => (await codes()).includes("homeserver_down"), "the API names it");
  const [problem] = await degraded();
  expect(problem).toMatchObject({
    severity: "critical",
    detail: "The homeserver does not answer: no connection.",
  });
  const ageMs = Date.now() - Date.parse(problem?.since ?? "");
  expect(ageMs).toBeGreaterThan(85_000);
  expect(ageMs).toBeLessThan(150_000);
});

test("a homeserver that cannot be opened does not hide the state of the others", async () => {
  const { homeserver_id: homeserverId } = tenant.row;
  const sharing = shareHomeserverStates({
    db: world.db,
    log: createLog({ level: "silent", tier: "test" }),
    homeservers: {
      get: () => Promise.reject(new Error("its credential cannot be opened")),
      statuses: () => [[homeserverId, { state: "down", since: new Date(), detail: "It does not answer." }]],
    },
  });
  await until(
    async () => (await readHomeserverStatuses(world.db)).some(({ state }) => state === "down"),
    "its state is saved",
  );
  await sharing.stop();
  expect(await readHomeserverStatuses(world.db)).toEqual([]);
});

test("a report that is older than 15 s is no report", async () => {
  await report("down", "The homeserver does not answer: no connection.");
  await post("one");
  await until(async () => (await codes()).includes("homeserver_down"), "the API names it");
  await world.db.raw("update homeserver_states set checked_at = now() - interval '16 seconds'");
  await until(async () => (await codes()).length === 0, "it is forgotten");
});

test.each([
  ["31 seconds", ["warning"]],
  ["301 seconds", ["critical"]],
  ["20 seconds", []],
])("a message that has waited for %s makes the API degraded: %p", async (age, severities) => {
  await post("secret words");
  await world.db.raw("update messages set accepted_at = now() - cast(? as interval)", [age]);
  const wanted = severities.map((severity) => `messages_waiting ${severity}`).join();
  const found = async () => (await degraded()).map(({ code, severity }) => `${code} ${severity}`).join();
  await until(async () => (await found()) === wanted, `it is ${wanted}`);
  const problems = await degraded();
  // It needs no credential: no name, no text.
  expect(JSON.stringify(problems)).not.toMatch(/secret|late|status|ada|hs\.test/);
});

test("a paused tenant's messages do not count as waiting", async () => {
  await post("one");
  await world.db.raw("update messages set accepted_at = now() - interval '1 hour'");
  await until(async () => (await codes()).length === 1, "it waits");
  await world.db.raw("update tenants set status = 'paused'");
  try {
    await until(async () => (await codes()).length === 0, "it does not count");
  } finally {
    await world.db.raw("update tenants set status = 'active'");
  }
});

test("the first page says how many messages wait, the oldest with its reason, and how the homeserver is", async () => {
  const calm = await operator("GET", "/admin");
  expect(calm.headers.get("content-type")).toContain("text/html");
  expect(calm.body).toMatch(/No problem is known/);
  expect(calm.body).toMatch(/>0<\/span> messages wait/);
  expect(calm.body).toMatch(/Not known/);

  const id = await post("secret words");
  await post("more secret words");
  const failed = {
    tenantId: tenant.row.id,
    messageId: id,
    failure: "transient",
    detail: "no answer in time",
    isRefused: false,
  };
  await recordAttempt(world.db, failed);
  await recordAttempt(world.db, failed);
  await world.db.raw("update messages set accepted_at = now() - interval '130 seconds' where id = ?", [id]);
  await report("down", "The homeserver does not answer: <b>no</b> answer within 2 s.");
  const late = async () => String((await operator("GET", "/admin")).body);
  await until(async () => (await late()).includes("homeserver_down"), "the page shows it");
  const page = await late();
  expect(page).toMatch(/>2<\/span> messages wait/);
  expect(page).toMatch(/waits for <b>2 min \d+ s<\/b>, in <code>group:late<\/code> of tenant <code>status</);
  expect(page).toContain(id);
  expect(page).toMatch(
    /2 tries failed, the last at .*: the homeserver did not answer, or failed: no answer in time\./,
  );
  expect(page).toMatch(/<code>hs\.test<\/code><b>down<\/b>/);
  expect(page).toContain("messages_waiting");
  expect(page).not.toMatch(/secret/);
  expect(page).not.toContain("<b>no</b>");
});

test("the first page is for operators and viewers: a browser is sent to the form, anybody else is refused", async () => {
  const viewer = world.as((await tenant.key("viewer")).key);
  expect((await viewer("GET", "/admin")).status).toBe(200);
  expect((await tenant.server("GET", "/admin")).status).toBe(403);
  const anonymous = world.as(null);
  expect((await anonymous("GET", "/admin")).status).toBe(401);
  const browser = await anonymous("GET", "/admin", { headers: { accept: "text/html" } });
  expect([browser.status, browser.headers.get("location")]).toEqual([303, "/admin/login"]);
});
