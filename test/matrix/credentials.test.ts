import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { findCredential } from "../../shared/db/homeservers/credentials.ts";
import { maxRoles } from "../../shared/contract/role-limit.ts";
import { newId, randomToken } from "../../shared/platform/ids.ts";
import { startThrowAwayServers } from "../../stack/servers/throw-away.mjs";
import { actAs } from "../../workers/reconcile/act-as.ts";
import { createAdminHomeserver } from "../../workers/matrix/homeserver/admin-homeserver.ts";
import { createAppserviceHomeserver } from "../../workers/matrix/homeserver/appservice-homeserver.ts";
import { connectTo, createConnection } from "../../workers/matrix/http/client.ts";
import type { OpenedHomeserver } from "../../workers/matrix/homeserver/homeserver.ts";
import { buildPowerLevels, isSameLevels } from "../../workers/matrix/power-levels.ts";
import { aliasLocalpart } from "../support/alias.ts";
import { ensureMatrixRoom } from "../../workers/matrix/rooms/ensure-matrix-room.ts";
import { getState, putState } from "../../workers/matrix/rooms/state.ts";
import { joinMember, listJoined, removeMember } from "../../workers/matrix/rooms/members.ts";
import { sendEvent } from "../../workers/matrix/rooms/events.ts";
import { toMatrix } from "../../workers/matrix/content/index.ts";
import { fetchChanges, fetchPosition } from "../../workers/matrix/sync/fetch-changes.ts";
import { openTestDatabase, type TestDatabase } from "../support/db.ts";

const SEAL_KEYS = [{ id: "t", key: Buffer.alloc(32, 9) }];
const TENANT = newId();

function textEvent(text: string) {
  return toMatrix({ kind: "text", text }, { targetEventId: null });
}

/** What both ways of reaching a homeserver promise, on a real Synapse: one with our Application Service, one as it comes. */
describe.each(["appservice", "admin"] as const)("a homeserver reached in mode %s", (mode) => {
  let database: TestDatabase;
  let synapse: Awaited<ReturnType<typeof startThrowAwayServers>>;
  let homeserver: OpenedHomeserver;
  let homeserverId: string;

  beforeAll(async () => {
    database = await openTestDatabase();
    synapse = await startThrowAwayServers({ mode, only: ["synapse"] });
    homeserverId = newId();
    await database.db("homeservers").insert({
      id: homeserverId,
      server_name: `${mode}.test`,
      base_url: synapse.synapseUrl,
      mode,
      sealed_secrets: "-",
    });
    homeserver = open();
  }, 120_000);
  afterAll(async () => {
    await synapse.stop();
    await database.close();
  });

  function open(
    registrationSecret = synapse.registrationSecret ?? "",
    asToken = synapse.asToken ?? "",
  ): OpenedHomeserver {
    const baseUrl = synapse.synapseUrl;
    const serverName = synapse.synapseServerName;
    const place = { id: homeserverId, serverName, baseUrl, connect: connectTo(baseUrl), registrationSecret };
    return mode === "admin"
      ? createAdminHomeserver({ ...place, db: database.db, sealKeys: SEAL_KEYS })
      : createAppserviceHomeserver({ ...place, asToken });
  }

  async function person(): Promise<string> {
    const matrixUserId = `@omc_${randomToken(16)}:${synapse.synapseServerName}`;
    await homeserver.ensureAccount(matrixUserId);
    return matrixUserId;
  }

  /** A room of an observer with one member in it. */
  async function room(): Promise<{ observer: string; member: string; matrixRoomId: string; slug: string }> {
    const [observer, member, slug] = [await person(), await person(), randomToken(8)];
    const matrixRoomId = await make(observer, slug);
    await joinMember(await homeserver.as(observer), await homeserver.as(member), {
      matrixRoomId,
      matrixUserId: member,
    });
    return { observer, member, matrixRoomId, slug };
  }

  async function make(observer: string, slug: string): Promise<string> {
    const localpart = aliasLocalpart({ tenantId: TENANT, kind: "group", slug, generation: 1 });
    const { matrixRoomId } = await ensureMatrixRoom(await homeserver.as(observer), {
      version: "12",
      alias: { localpart, whole: `#${localpart}:${synapse.synapseServerName}` },
      observerMatrixId: observer,
      description: { name: "Chess", topic: null, avatar: null },
      eventsDefault: 0,
      predecessor: null,
    });
    return matrixRoomId;
  }

  test("an account that is registered again, or five times at once, stays the same", async () => {
    const matrixUserId = `@omc_${randomToken(16)}:${synapse.synapseServerName}`;
    await Promise.all(Array.from({ length: 5 }, () => homeserver.ensureAccount(matrixUserId)));
    await homeserver.ensureAccount(matrixUserId);
    const request = await homeserver.as(matrixUserId);
    const whoami = await request({ method: "GET", path: "/account/whoami" });
    expect(whoami).toMatchObject({ user_id: matrixUserId, device_id: "OPENMEET" });
  });

  test("our credential is known, and another one is refused with an errcode", async () => {
    await homeserver.checkCredential({ isThorough: true });
    await homeserver.checkCredential({ isThorough: false });
    const refused =
      mode === "admin" ? { status: 403, errcode: "M_UNKNOWN" } : { status: 401, errcode: "M_UNKNOWN_TOKEN" };
    const wrong = open("another-secret", "another-token").checkCredential({ isThorough: true });
    await expect(wrong).rejects.toMatchObject({ httpStatus: refused.status, errcode: refused.errcode });
  });

  test("an account whose devices were all removed can send again", async () => {
    const matrixUserId = await person();
    const before = await homeserver.as(matrixUserId);
    await before({ method: "POST", path: "/logout/all", body: {} });
    const whoami = await actAs(homeserver, matrixUserId, (request) =>
      request({ method: "GET", path: "/account/whoami" }),
    );
    expect(whoami).toMatchObject({ user_id: matrixUserId, device_id: "OPENMEET" });
  });

  test("a room that is created six times at once is one room", async () => {
    const observer = await person();
    const rooms = await Promise.all(Array.from({ length: 6 }, () => make(observer, "same")));
    expect(new Set(rooms).size).toBe(1);
  });

  test("a repeated send makes one event, also after the homeserver restarted", async () => {
    const { member, matrixRoomId, observer } = await room();
    const since = await fetchPosition(await homeserver.as(observer));
    const message = { matrixRoomId, id: newId(), event: textEvent("once") };
    const first = await sendEvent(await homeserver.as(member), message);
    expect(await sendEvent(await homeserver.as(member), message)).toBe(first);
    await synapse.restart("synapse");
    expect(await sendEvent(await homeserver.as(member), message)).toBe(first);
    const changes = await fetchChanges(await homeserver.as(observer), {
      since,
      pollMs: 0,
      signal: new AbortController().signal,
    });
    const events = changes.rooms?.join[matrixRoomId]?.timeline?.events ?? [];
    expect(events.filter(({ type }) => type === "m.room.message")).toHaveLength(1);
  }, 120_000);

  test("an event has the time that is given for it exactly where the homeserver keeps it", async () => {
    const { member, matrixRoomId } = await room();
    const request = await homeserver.as(member);
    const atMs = Date.now() - 3_600_000;
    const eventId = await sendEvent(request, {
      matrixRoomId,
      id: newId(),
      event: textEvent("earlier"),
      atMs,
    });
    const path = `/rooms/${encodeURIComponent(matrixRoomId)}/event/${encodeURIComponent(eventId)}`;
    const { origin_server_ts: sentAtMs } = (await request({ method: "GET", path })) as Record<
      string,
      unknown
    >;
    expect([mode, sentAtMs === atMs]).toEqual([mode, homeserver.keepsTime]);
    expect(homeserver.keepsTime).toBe(mode === "appservice");
  });

  test("forty messages and thirty members at once meet no limit", async () => {
    const { member, observer, matrixRoomId } = await room();
    const speaker = await homeserver.as(member);
    for (let index = 0; index < 40; index++) {
      await sendEvent(speaker, { matrixRoomId, id: newId(), event: textEvent(String(index)) });
    }
    const asked = await homeserver.as(observer);
    for (let index = 0; index < 30; index++) {
      const matrixUserId = await person();
      await joinMember(asked, await homeserver.as(matrixUserId), { matrixRoomId, matrixUserId });
    }
    expect(await listJoined(asked, matrixRoomId)).toHaveLength(32);
  }, 120_000);

  test("the room has the level map that was put, and a removed member is out of it", async () => {
    const { member, observer, matrixRoomId } = await room();
    const request = await homeserver.as(observer);
    const wanted = buildPowerLevels({ observer, creators: [observer] }, [
      { matrixUserId: member, level: 50 },
    ]);
    await putState(request, { matrixRoomId, type: "m.room.power_levels", content: wanted });
    expect(isSameLevels(await getState(request, { matrixRoomId, type: "m.room.power_levels" }), wanted)).toBe(
      true,
    );
    await removeMember(request, { matrixRoomId, matrixUserId: member });
    await removeMember(request, { matrixRoomId, matrixUserId: member });
    expect(await listJoined(request, matrixRoomId)).toEqual([observer]);
    const message = { matrixRoomId, id: newId(), event: textEvent("let me in") };
    await expect(sendEvent(await homeserver.as(member), message)).rejects.toMatchObject({
      kind: "forbidden",
    });
  });

  test("the homeserver accepts a map of as many roles as fit a long server name, and of few more", async () => {
    const { observer, matrixRoomId } = await room();
    const request = await homeserver.as(observer);
    const serverName = "s".repeat(100);
    const put = (count: number) => {
      const members = Array.from({ length: count }, (_, index) => ({
        matrixUserId: `@omc_${String(index).padStart(20, "a")}:${serverName}`,
        level: 25,
      }));
      const content = buildPowerLevels({ observer, creators: [observer] }, members);
      return putState(request, { matrixRoomId, type: "m.room.power_levels", content });
    };
    await put(maxRoles(serverName));
    await expect(put(maxRoles(serverName) + 20)).rejects.toMatchObject({ httpStatus: 413 });
  });

  test("another Matrix client logs in as the person, with a device of its own", async () => {
    const { member } = await room();
    const login = await homeserver.login(member);
    const request = createConnection({ baseUrl: synapse.synapseUrl, accessToken: login.accessToken })({});
    expect(await request({ method: "GET", path: "/account/whoami" })).toMatchObject({
      user_id: member,
      device_id: login.deviceId,
    });
    expect(login.deviceId).not.toBe("OPENMEET");
  });

  test("an account that was removed, twice, leaves no credential that works", async () => {
    const { member, matrixRoomId } = await room();
    const login = await homeserver.login(member);
    const kept = await findCredential(database.db, SEAL_KEYS, homeserverId, member);
    await homeserver.removeAccount(member);
    await homeserver.removeAccount(member);
    const tokens = [login.accessToken, ...(kept ? [kept.accessToken] : [])];
    for (const accessToken of tokens) {
      const request = createConnection({ baseUrl: synapse.synapseUrl, accessToken })({});
      const message = { matrixRoomId, id: newId(), event: textEvent("still here") };
      await expect(sendEvent(request, message)).rejects.toMatchObject({ kind: "auth" });
    }
    expect(await findCredential(database.db, SEAL_KEYS, homeserverId, member)).toBeNull();
    const message = { matrixRoomId, id: newId(), event: textEvent("still here") };
    await expect(sendEvent(await homeserver.as(member), message)).rejects.toThrow();
  });

  if (mode === "admin") {
    test("a token is sealed in the database, and a revoked token is renewed once for all waiting calls", async () => {
      const { member, matrixRoomId } = await room();
      const row: unknown = await database.db("credentials").where({ matrix_user_id: member }).first();
      const before = await findCredential(database.db, SEAL_KEYS, homeserverId, member);
      expect(JSON.stringify(row)).not.toContain(before?.accessToken ?? "?");
      await (
        await homeserver.as(member)
      )({ method: "POST", path: "/logout", body: {} });
      const request = await homeserver.as(member);
      const sends = Array.from({ length: 10 }, (_, index) =>
        sendEvent(request, { matrixRoomId, id: newId(), event: textEvent(String(index)) }),
      );
      expect(new Set(await Promise.all(sends)).size).toBe(10);
      const after = await findCredential(database.db, SEAL_KEYS, homeserverId, member);
      expect(after?.accessToken).not.toBe(before?.accessToken);
      const devices = await request({ method: "GET", path: "/devices" });
      expect(devices).toMatchObject({ devices: [{ device_id: "OPENMEET" }] });
    });

    test("after a registration whose response was lost, a login gives the token", async () => {
      const { member } = await room();
      await database.db("credentials").where({ matrix_user_id: member }).delete();
      homeserver = open();
      await homeserver.ensureAccount(member);
      const request = await homeserver.as(member);
      expect(await request({ method: "GET", path: "/account/whoami" })).toMatchObject({ user_id: member });
    });
  }
});
