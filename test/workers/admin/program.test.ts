import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { findKeyHolder } from "../../../shared/db/tenants/api-keys.ts";
import { findTenantBySlug, setTenantLimits } from "../../../shared/db/tenants/tenants.ts";
import { recordAttempt } from "../../../shared/db/messages/delivery-attempts.ts";
import { newId } from "../../../shared/platform/ids.ts";
import { ensureUsers } from "../../../shared/db/users/users.ts";
import { run } from "../../../workers/admin/program.ts";
import { openTestDatabase, type TestDatabase } from "../../support/db.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

type Ran = { code: number; out: string; err: string };

/** Runs a command and collects its output. */
function admin(...args: string[]): Promise<Ran> {
  return adminWith({}, ...args);
}

async function adminWith(env: Record<string, string | undefined>, ...args: string[]): Promise<Ran> {
  const written = { out: "", err: "" };
  const out = jest
    .spyOn(process.stdout, "write")
    .mockImplementation((text) => ((written.out += String(text)), true));
  const err = jest
    .spyOn(process.stderr, "write")
    .mockImplementation((text) => ((written.err += String(text)), true));
  try {
    const code = await run(args, {
      DATABASE_URL: database.url,
      REDIS_URL: "redis://127.0.0.1:1",
      SYNAPSE_URL: "http://127.0.0.1:1",
      SYNAPSE_SERVER_NAME: "hs.test",
      SYNAPSE_AS_TOKEN: "a token of the tests",
      SEAL_KEYS: `t:${Buffer.alloc(32, 7).toString("base64")}`,
      ...env,
    });
    return { code, ...written };
  } finally {
    out.mockRestore();
    err.mockRestore();
  }
}

test("a tenant is created once, with an observer of its own", async () => {
  expect(await admin("tenant", "create", "acme", "--json")).toMatchObject({
    code: 0,
    out: '{"tenant":"acme","created":true}\n',
  });
  expect(await admin("tenant", "create", "acme", "--json")).toMatchObject({
    code: 0,
    out: '{"tenant":"acme","created":false}\n',
  });
  expect((await admin("tenant", "list")).out).toContain("acme");
  const { rows } = await database.db.raw<{ rows: unknown[] }>(
    "select o.matrix_user_id from observers o join sync_positions p on p.observer_id = o.id",
  );
  expect(rows).toEqual([{ matrix_user_id: expect.stringMatching(/^@omc_[a-z2-7]{20}:hs\.test$/) }]);
});

test("a command shows and changes a tenant's limits, and refuses a wrong one", async () => {
  await admin("tenant", "create", "limits");
  expect(JSON.parse((await admin("tenant", "limits", "limits", "--json")).out)).toMatchObject({
    tenant: "limits",
    userRequests: 1_000,
  });
  const changes = ["userRequests=50", "allowedOrigins=https://a.example,https://b.example"];
  expect(JSON.parse((await admin("tenant", "limits", "limits", ...changes, "--json")).out)).toMatchObject({
    userRequests: 50,
    allowedOrigins: ["https://a.example", "https://b.example"],
  });
  const back = JSON.parse(
    (await admin("tenant", "limits", "limits", "userRequests=", "--json")).out,
  ) as object;
  expect(back).toMatchObject({ userRequests: 1_000, allowedOrigins: expect.any(Array) });
  expect(back).toMatchObject({ join: "lazy", maxAgeMs: 7 * 86_400_000 });
  const waits = await admin("tenant", "limits", "limits", "maxAgeMs=3600000", "join=eager", "--json");
  expect(JSON.parse(waits.out)).toMatchObject({ maxAgeMs: 3_600_000, join: "eager" });
  expect(JSON.parse(waits.out)).toMatchObject({ unknownUsers: "create" });
  const strict = await admin("tenant", "limits", "limits", "unknownUsers=refuse", "--json");
  expect(JSON.parse(strict.out)).toMatchObject({ unknownUsers: "refuse", join: "eager" });
  const requests = [
    "userRequests=0",
    "userRequests=many",
    "nothing=1",
    "toString=",
    "allowedOrigins=nonsense",
  ];
  const origins = ["allowedOrigins=https://a.example/", "allowedOrigins=https://a.example,*"];
  for (const wrong of [
    ...requests,
    ...origins,
    "maxAgeMs=59999",
    "maxAgeMs=2592000001",
    "join=sometimes",
    "join=1",
    "unknownUsers=ignore",
  ]) {
    expect(await admin("tenant", "limits", "limits", wrong)).toMatchObject({
      code: 2,
      err: expect.stringContaining(wrong.split("=")[0] ?? ""),
    });
  }
});

test("an origin that was set before origins were checked does not keep other limits from being changed", async () => {
  await admin("tenant", "create", "old-origins");
  const allowedOrigins = ["https://a.example/"];
  await setTenantLimits(database.db, "old-origins", { allowedOrigins });
  const { out } = await admin("tenant", "limits", "old-origins", "queuedMessages=20000", "--json");
  expect(JSON.parse(out)).toMatchObject({ queuedMessages: 20_000, allowedOrigins });
});

test("the tables of a room show how often each message was tried in vain, why the last try failed, and the dead ones", async () => {
  await admin("tenant", "create", "tried");
  const { db } = database;
  const tenant = await findTenantBySlug(db, "tried");
  const tenant_id = tenant?.id ?? "";
  const sender = (await ensureUsers(db, tenant_id, ["ada"])).get("ada");
  const observer = await db("observers").where({ tenant_id }).first<{ id: string }>("id");
  const room_id = newId();
  await db("rooms").insert({
    id: room_id,
    tenant_id,
    kind: "group",
    slug: "tried",
    name: "Tried",
    observer_id: observer.id,
  });
  await db("room_outbox").insert({ room_id, tenant_id });
  await db("room_timeline").insert({ room_id, tenant_id, epoch: "e" });
  const message = { tenant_id, room_id, sender_id: sender?.id, content: { kind: "text", text: "secret" } };
  const [waiting, dead] = [newId(), newId()];
  await db("messages").insert({ ...message, id: waiting, order_number: 2 });
  const refused = { status: "dead", open: false, error_code: "refused", error_message: "It was refused." };
  await db("messages").insert({ ...message, ...refused, id: dead, order_number: 1 });
  for (const detail of ["no connection", "M_UNKNOWN (HTTP 502)"])
    await recordAttempt(db, {
      ...{ tenantId: tenant_id, messageId: waiting, detail },
      ...{ failure: "transient", isRefused: false },
    });

  const { out } = await admin("room", "show", "tried", "group:tried", "--json");
  expect(JSON.parse(out)).toMatchObject({
    open: [
      {
        id: waiting,
        status: "queued",
        failed_tries: 2,
        last_failure: {
          at: expect.any(String),
          why: "the homeserver did not answer, or failed: M_UNKNOWN (HTTP 502)",
        },
      },
    ],
    dead: [{ id: dead, error_code: "refused", error_message: "It was refused.", failed_tries: 0 }],
  });
  expect(out).not.toContain("secret");
});

test("a command names the server whose answer did not come", async () => {
  await admin("tenant", "create", "away");
  const nowhere = { DATABASE_URL: "postgres://openmeet@127.0.0.1:1/chat" };
  const noPostgres = await adminWith(nowhere, "room", "diagnose", "away", "group:none");
  expect(noPostgres).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^Postgres \(DATABASE_URL\) did not answer: /),
  });
  const tenant = await findTenantBySlug(database.db, "away");
  await ensureUsers(database.db, tenant?.id ?? "", ["ada"]);
  const noSynapse = await admin("matrix", "login", "--tenant", "away", "--user", "ada");
  expect(noSynapse.err).toMatch(/SYNAPSE/);
});

test("a key works until it is revoked, and only its hash is kept", async () => {
  await admin("tenant", "create", "keys");
  const made = await admin("key", "create", "--tenant", "keys", "--role", "server", "--json");
  const { key, id } = JSON.parse(made.out) as { key: string; id: string };
  expect(await findKeyHolder(database.db, key)).toMatchObject({ role: "server", tenantSlug: "keys" });
  expect((await admin("key", "list", "--tenant", "keys", "--json")).out).not.toContain(key.slice(-40));
  expect((await admin("key", "revoke", id)).code).toBe(0);
  expect(await findKeyHolder(database.db, key)).toBeNull();
  const { rows } = await database.db.raw<{ rows: unknown[] }>(
    "select action from audit where subject = ? order by at",
    [id],
  );
  expect(rows).toEqual([{ action: "key.create" }, { action: "key.revoke" }]);
});

test.each([
  ["by its public URL", "https://matrix.example.org/", "https://matrix.example.org"],
  ["by the URL of the workers without a public one", undefined, process.env["TEST_SYNAPSE_URL"]],
])("a login for a Matrix client names the homeserver %s", async (_title, publicUrl, printed) => {
  const synapse = {
    SYNAPSE_URL: process.env["TEST_SYNAPSE_URL"],
    SYNAPSE_SERVER_NAME: process.env["TEST_SYNAPSE_SERVER_NAME"],
    SYNAPSE_AS_TOKEN: process.env["TEST_SYNAPSE_AS_TOKEN"],
    SYNAPSE_REGISTRATION_SECRET: process.env["TEST_SYNAPSE_REGISTRATION_SECRET"],
    SYNAPSE_PUBLIC_URL: publicUrl,
  };
  await adminWith(synapse, "tenant", "create", "plain");
  const tenant = await findTenantBySlug(database.db, "plain");
  await ensureUsers(database.db, tenant?.id ?? "", ["ada"]);
  const login = await adminWith(synapse, "matrix", "login", "--tenant", "plain", "--user", "ada", "--json");
  expect(JSON.parse(login.out)).toMatchObject({ homeserverUrl: printed, accessToken: expect.any(String) });
});

test.each([
  [["bogus"]],
  [["tenant", "create", "Not A Slug"]],
  [["key", "create", "--tenant", "acme"]],
  [["key", "create", "--tenant", "acme", "--role", "king"]],
  [["room", "show", "acme", "nonsense"]],
])("a command used wrongly prints why and exits with 2: %j", async (args) => {
  expect(await admin(...args)).toMatchObject({ code: 2, err: expect.stringMatching(/\w/) });
});

test.each([
  [["key", "create", "--tenant", "unknown", "--role", "server"]],
  [["key", "revoke", "nothing"]],
  [["room", "show", "acme", "event:none"]],
])("a command that fails prints why and exits with 1: %j", async (args) => {
  expect(await admin(...args)).toMatchObject({ code: 1, err: expect.stringMatching(/There is no|has no/) });
});

test("a user's tokens are revoked by a command, audited, and their sockets are to be closed", async () => {
  await admin("tenant", "create", "revoking");
  const tenant = await findTenantBySlug(database.db, "revoking");
  if (!tenant) throw new Error("there is no tenant");
  const user = (await ensureUsers(database.db, tenant.id, ["rita"])).get("rita");
  const { code, out } = await admin("user", "tokens", "revoke", "revoking", "rita", "--json");
  const answer = JSON.parse(out) as { user: string; validFrom: string };
  expect([code, answer.user]).toEqual([0, "rita"]);
  expect(Date.parse(answer.validFrom)).toBeGreaterThan(Date.now() - 60_000);
  expect(await database.db("notices").where({ user_id: user?.id }).pluck("kind")).toEqual(["tokens.revoked"]);
  expect(await database.db("audit").where({ action: "token.revoke" }).first()).toMatchObject({
    tenant_id: tenant.id,
    actor: "cli",
    subject: "rita",
  });
  expect(await admin("user", "tokens", "revoke", "revoking", "nemo")).toMatchObject({
    code: 1,
    err: "There is no such user.\n",
  });
  expect((await admin("user", "tokens", "revoke", "revoking")).code).toBe(2);
});
