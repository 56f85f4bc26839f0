import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { saveCredential, findCredential } from "../../../shared/db/homeservers/credentials.ts";
import { findHomeserver, openHomeserverSecrets } from "../../../shared/db/homeservers/homeservers.ts";
import { findTenantBySlug, openTokenKeys } from "../../../shared/db/tenants/tenants.ts";
import { signUserToken, verifyUserToken } from "../../../shared/auth/tokens.ts";
import { run } from "../../../workers/admin/program.ts";
import { openTestDatabase, type TestDatabase } from "../../support/db.ts";

const OLD = { id: "old", key: Buffer.alloc(32, 1) };
const NEW = { id: "new", key: Buffer.alloc(32, 2) };

let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

async function admin(keys: (typeof OLD)[], ...args: string[]): Promise<Record<string, unknown>> {
  let out = "";
  const spy = jest.spyOn(process.stdout, "write").mockImplementation((text) => ((out += String(text)), true));
  try {
    const code = await run([...args, "--json"], {
      DATABASE_URL: database.url,
      REDIS_URL: "redis://127.0.0.1:1",
      SYNAPSE_URL: "http://127.0.0.1:1",
      SYNAPSE_SERVER_NAME: "seals.test",
      SYNAPSE_AS_TOKEN: "a token of the tests",
      SEAL_KEYS: keys.map(({ id, key }) => `${id}:${key.toString("base64")}`).join(","),
    });
    expect(code).toBe(0);
  } finally {
    spy.mockRestore();
  }
  return JSON.parse(out) as Record<string, unknown>;
}

test("after sealing again, the old key is not needed any more", async () => {
  await admin([OLD], "tenant", "create", "sealed");
  const tenant = await findTenantBySlug(database.db, "sealed");
  if (!tenant) throw new Error("no tenant");
  const account = "@omc_sealed:seals.test";
  await saveCredential(database.db, [OLD], tenant.homeserver_id, account, {
    deviceId: "D",
    accessToken: "secret",
  });

  const answer = await admin([NEW, OLD], "seal", "rotate");
  expect(answer).toEqual({ key: "new", homeservers: 1, tenants: 1, credentials: 1 });

  const sealed = await findTenantBySlug(database.db, "sealed");
  const homeserver = await findHomeserver(database.db, tenant.homeserver_id);
  if (!sealed || !homeserver) throw new Error("gone");
  expect(openTokenKeys([NEW], sealed)).toEqual(openTokenKeys([OLD], tenant));
  expect(openHomeserverSecrets([NEW], homeserver).asToken).toBe("a token of the tests");
  const credential = await findCredential(database.db, [NEW], tenant.homeserver_id, account);
  expect(credential).toEqual({ deviceId: "D", accessToken: "secret" });
  expect(() => openTokenKeys([OLD], sealed)).toThrow(/SEAL_KEYS/);
});

test("a token of the former key is valid after a rotation, and one of the key before that is not", async () => {
  await admin([NEW, OLD], "tenant", "create", "signer");
  const keysNow = async () => {
    const tenant = await findTenantBySlug(database.db, "signer");
    if (!tenant) throw new Error("no tenant");
    return openTokenKeys([NEW, OLD], tenant);
  };
  const claims = { tenant: "signer", user: "ada" };
  const times = { nowMs: Date.now(), lifetimeS: 600 };
  const shown = await admin([NEW, OLD], "token-key", "show", "--tenant", "signer");
  expect(shown).toMatchObject({ kid: (await keysNow()).current.kid });
  const { token } = await signUserToken(await keysNow(), claims, times);
  await admin([NEW, OLD], "token-key", "rotate", "--tenant", "signer");
  expect(verifyUserToken(await keysNow(), "signer", token, Date.now())).toMatchObject(claims);
  await admin([NEW, OLD], "token-key", "rotate", "--tenant", "signer");
  const keys = await keysNow();
  expect(() => verifyUserToken(keys, "signer", token, Date.now())).toThrow(
    expect.objectContaining({ code: "unauthorized" }),
  );
});
