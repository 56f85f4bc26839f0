import { expect, test } from "@jest/globals";
import type { Role } from "../../shared/contract/roles.ts";
import { isOnMatrix } from "../../shared/contract/permissions.ts";
import { POWER_LEVEL } from "../../shared/contract/roles.ts";
import { maxRoles } from "../../shared/contract/role-limit.ts";
import { chooseRoomVersion, createNewRoomVersion } from "../../workers/matrix/homeserver/room-versions.ts";
import { MatrixFailure } from "../../workers/matrix/http/failure.ts";
import { buildPowerLevels, isSameLevels, writingLevel } from "../../workers/matrix/power-levels.ts";
import { withinReach } from "../../workers/matrix/reachable-levels.ts";
import { readCreation } from "../../workers/matrix/rooms/creation.ts";
import { findObstacle } from "../../workers/reconcile/configuration/find-obstacle.ts";

const observer = "@observer:test";
/** Before version 12. */
const room = { observer, creators: [] };
const member = (name: string, role: Role) => ({ matrixUserId: `@${name}:test`, level: POWER_LEVEL[role] });

test("the map names the observer and the members with a level", () => {
  const levels = buildPowerLevels(room, [
    member("ada", "owner"),
    member("bob", "admin"),
    member("cleo", "moderator"),
    member("dan", "speaker"),
    member("eve", "member"),
    member("finn", "guest"),
  ]);
  expect(levels.users).toEqual({
    [observer]: 100,
    "@ada:test": 90,
    "@bob:test": 75,
    "@cleo:test": 50,
    "@dan:test": 25,
  });
});

test("the map leaves out no field that Matrix would fill in by itself", () => {
  const levels = buildPowerLevels(room, []);
  expect(levels).toMatchObject({
    users_default: 0,
    events_default: 0,
    state_default: 100,
    ban: 50,
    kick: 50,
    redact: 50,
    // A moderator invites an observer that was removed.
    invite: 50,
  });
  expect(levels.events["m.room.power_levels"]).toBe(100);
  // Not even the observer can encrypt a room: its messages could not be read any more.
  expect(levels.events["m.room.encryption"]).toBeGreaterThan(100);
});

test("creators stand in no map, and only they replace their room", () => {
  const members = [member("ada", "owner"), member("bob", "admin")];
  const own = buildPowerLevels({ observer, creators: [observer] }, members);
  expect(own.users).toEqual({ "@ada:test": 90, "@bob:test": 75 });
  expect(own.events["m.room.tombstone"]).toBe(150);
  const shared = buildPowerLevels({ observer, creators: [observer, "@ada:test"] }, members);
  expect(shared.users).toEqual({ "@bob:test": 75 });
  // An observer at 100 cannot give a level above its own.
  const others = buildPowerLevels({ observer, creators: ["@ada:test"] }, members);
  expect(others.users).toEqual({ "@bob:test": 75, [observer]: 100 });
  expect(others.events["m.room.tombstone"]).toBe(100);
});

test.each([
  ["6", {}, []],
  ["11", {}, []],
  // Redacted before version 11.
  [undefined, {}, []],
  ["11", { additional_creators: ["@eve:test"] }, []],
  ["12", {}, ["@ada:test"]],
  ["12", { additional_creators: ["@eve:test", "@ada:test"] }, ["@ada:test", "@eve:test"]],
  ["12", { additional_creators: "nonsense" }, ["@ada:test"]],
  ["org.example.13", {}, ["@ada:test"]],
])("a room of version %s with %j has the creators %j", (version, more, creators) => {
  const content = { ...(version === undefined ? {} : { room_version: version }), ...more };
  expect(readCreation({ sender: "@ada:test", content })).toEqual({ creators, predecessor: null });
});

const weak = { others: [], isObserverWeak: true };
const stuckAt = (...others: string[]) => ({ others, isObserverWeak: false });
test.each([
  ["the observer created it", [observer], {}, null],
  ["the observer created it, and another has its level", [observer], { "@ada:test": 100 }, null],
  ["the observer created it with another", [observer, "@ada:test"], {}, stuckAt("@ada:test")],
  ["another created it", ["@ada:test"], { [observer]: 100 }, stuckAt("@ada:test")],
  ["the observer is in the map", [], { [observer]: 100, "@ada:test": 99 }, null],
  ["a level is a text", [], { [observer]: "100" }, null],
  ["another has the observer's level", [], { [observer]: 100, "@ada:test": 100 }, stuckAt("@ada:test")],
  ["the observer is not in the map", [], { "@ada:test": 90 }, weak],
  ["the map is lost", [], null, weak],
] as const)(
  "whether the observer has power over a room is known where %s",
  (_, creators, users, expected) => {
    expect(findObstacle({ creators }, users === null ? null : { users }, observer)).toEqual(expected);
  },
);

test.each([
  [
    { capabilities: { "m.room_versions": { default: "11", available: { "11": "stable", "12": "stable" } } } },
    "12",
  ],
  [{ capabilities: { "m.room_versions": { default: "12", available: { "12": "unstable" } } } }, "11"],
  [{ capabilities: { "m.room_versions": { default: "11", available: { "11": "stable" } } } }, "11"],
  [{ capabilities: {} }, "11"],
  [null, "11"],
  ["<html>", "11"],
])("a homeserver that answers %j gets new rooms of version %s", (answer, version) => {
  expect(chooseRoomVersion(answer)).toBe(version);
});

test("a homeserver is asked for its room versions again after ten minutes, or after one if it does not know the call", async () => {
  const answers: unknown[] = [];
  let asked = 0;
  const request = () => {
    asked++;
    const next = answers.shift();
    return next instanceof Error ? Promise.reject(next) : Promise.resolve(next);
  };
  const stable = { capabilities: { "m.room_versions": { available: { "12": "stable" } } } };
  const unknown = new MatrixFailure("transient", { errcode: "M_UNRECOGNIZED", httpStatus: 404 });
  const down = new MatrixFailure("transient", { errcode: "no connection", httpStatus: null });
  answers.push(unknown, stable, down, {});
  const newRoomVersion = createNewRoomVersion();
  const at = (minutes: number) => newRoomVersion({ id: "hs" }, request, minutes * 60_000);
  expect([await at(0), await at(0.9), await at(1), await at(10.9)]).toEqual(["11", "11", "12", "12"]);
  await expect(at(11)).rejects.toBe(down);
  expect(await at(11)).toBe("11");
  expect(asked).toBe(4);
});

test.each([9, 27, 28, 33, 100, 230])(
  "a map of as many roles as fit a server name of %i characters names them all and stays below 64 KiB",
  (length) => {
    const serverName = "s".repeat(length);
    const id = (index: number) => `@omc_${String(index).padStart(20, "a")}:${serverName}`;
    const most = maxRoles(serverName);
    const levelled = Array.from({ length: most }, (_, index) => ({
      matrixUserId: id(index),
      level: POWER_LEVEL.speaker,
    }));
    const full = buildPowerLevels({ observer: id(5_000), creators: [] }, levelled);
    expect(Object.keys(full.users)).toHaveLength(most + 1);
    // What an event has beside its content: at most 20 references, a hash, a signature, ids with the server's name.
    const around = 20 * 50 + 500 + 3 * length;
    expect(JSON.stringify(full).length + around).toBeLessThan(65_536);
    // The highest roles stay when there are more.
    const more = [...levelled, { matrixUserId: id(4_000), level: POWER_LEVEL.owner }];
    const cut = buildPowerLevels({ observer: id(5_000), creators: [] }, more);
    expect(Object.keys(cut.users)).toHaveLength(most + 1);
    expect(cut.users[id(4_000)]).toBe(90);
  },
);

test("no role reaches the observer's level", () => {
  for (const level of Object.values(POWER_LEVEL)) expect(level).toBeLessThan(100);
  expect(buildPowerLevels(room, [{ matrixUserId: observer, level: 0 }]).users[observer]).toBe(100);
});

test("two maps differ by their levels, not by the order of members or keys", () => {
  const one = buildPowerLevels(room, [member("ada", "owner"), member("bob", "admin")]);
  const other = buildPowerLevels(room, [member("bob", "admin"), member("ada", "owner")]);
  expect(JSON.stringify(one)).toBe(JSON.stringify(other));
  const shuffled = Object.fromEntries(Object.entries(one).reverse());
  expect(isSameLevels(shuffled, one)).toBe(true);
  expect(isSameLevels({ ...one, kick: 0 }, one)).toBe(false);
  expect(isSameLevels({ ...one, events: {} }, one)).toBe(false);
  expect(isSameLevels(null, one)).toBe(false);
});

test("every role but guest may post", () => {
  const posting = (Object.keys(POWER_LEVEL) as Role[]).filter((name) => isOnMatrix(name, { kind: "group" }));
  expect(posting).toEqual(["owner", "admin", "moderator", "speaker", "member"]);
});

test("a muted member stands below all events, and in the map before all others", () => {
  const most = maxRoles("test");
  const speakers = Array.from({ length: most }, (_, index) => member(`s${String(index)}`, "speaker"));
  const { users } = buildPowerLevels(room, [...speakers, { matrixUserId: "@muted:test", level: -1 }]);
  expect(users["@muted:test"]).toBe(-1);
  expect(Object.keys(users)).toHaveLength(most + 1);
});

test.each([
  ["where everyone posts", { posting: "everyone", isBlocked: false }, 0],
  ["where speakers post", { posting: "speakers", isBlocked: false }, 25],
  ["in a blocked direct room", { posting: "everyone", isBlocked: true }, 50],
] as const)("%s the map lets the same people write, and everybody react and redact", (_, writers, level) => {
  const levels = buildPowerLevels(room, [], writingLevel(writers));
  expect(levels.events_default).toBe(level);
  expect(levels.events).toMatchObject({
    "m.reaction": 0,
    "m.room.redaction": 0,
    "m.room.pinned_events": 50,
  });
});

test("in an adopted room the bot keeps what it cannot change, and changes the rest", () => {
  const bot = "@bot:test";
  const desired = buildPowerLevels({ observer: bot, creators: [] }, []);
  const current = {
    users: { [bot]: 100, "@founder:test": 100, "@helper:test": 50 },
    events: { "m.room.tombstone": 150, "m.room.encryption": 100, "m.space.child": 50 },
    events_default: 25,
  };
  const reached = withinReach(current, desired, { observer: bot, creators: [] });
  expect(reached.users).toEqual({ [bot]: 100, "@founder:test": 100 });
  expect(reached.events["m.room.tombstone"]).toBe(150);
  expect(reached.events["m.room.encryption"]).toBe(100);
  expect(reached.events["m.space.child"]).toBeUndefined();
  expect(reached.events_default).toBe(0);
  expect(withinReach(reached, desired, { observer: bot, creators: [] })).toEqual(reached);
  expect(withinReach(desired, desired, { observer: bot, creators: [] })).toEqual(desired);
  expect(withinReach(undefined, desired, { observer: bot, creators: [bot] })).toEqual(desired);
});
