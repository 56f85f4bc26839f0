import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { saveCredential } from "../../shared/db/homeservers/credentials.ts";
import { newId, randomToken } from "../../shared/platform/ids.ts";
import { startThrowAwayServers } from "../../stack/servers/throw-away.mjs";
import { createAdminHomeserver } from "../../workers/matrix/homeserver/admin-homeserver.ts";
import { connectTo } from "../../workers/matrix/http/client.ts";
import { openTestDatabase, type TestDatabase } from "../support/db.ts";

const SEAL_KEYS = [{ id: "t", key: Buffer.alloc(32, 9) }];

// A Synapse of its own: by default Synapse allows few logins.
let database: TestDatabase;
let synapse: Awaited<ReturnType<typeof startThrowAwayServers>>;
beforeAll(async () => {
  database = await openTestDatabase();
  synapse = await startThrowAwayServers({ mode: "admin", only: ["synapse"] });
}, 120_000);
afterAll(async () => {
  await synapse.stop();
  await database.close();
});

test("an account that is missing on the homeserver, as after a restore, is registered again by its next call", async () => {
  const { db } = database;
  const place = { id: newId(), serverName: synapse.synapseServerName, baseUrl: synapse.synapseUrl };
  await db("homeservers").insert({
    id: place.id,
    server_name: place.serverName,
    base_url: place.baseUrl,
    mode: "admin",
    sealed_secrets: "-",
  });
  const registrationSecret = synapse.registrationSecret ?? "";
  const connect = connectTo(place.baseUrl);
  const homeserver = createAdminHomeserver({
    ...place,
    connect,
    registrationSecret,
    db,
    sealKeys: SEAL_KEYS,
  });
  const person = `@omc_${randomToken(16)}:${place.serverName}`;
  await saveCredential(db, SEAL_KEYS, place.id, person, { deviceId: "OPENMEET", accessToken: "of-before" });

  const request = await homeserver.as(person);
  const whoami = await request({ method: "GET", path: "/account/whoami" });

  expect(whoami).toMatchObject({ user_id: person, device_id: "OPENMEET" });
  await homeserver.ensureAccount(person);
});
