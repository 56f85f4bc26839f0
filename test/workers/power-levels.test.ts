import { expect, test } from "@jest/globals";
import type { Role } from "../../shared/contract/roles.ts";
import { isAllowed } from "../../shared/contract/permissions.ts";
import { POWER_LEVEL } from "../../shared/contract/roles.ts";
import { buildPowerLevels, isSameLevels } from "../../workers/matrix/power-levels.ts";

const observer = "@observer:test";
const member = (name: string, role: Role) => ({ matrixUserId: `@${name}:test`, role });

test("the map names the observer and the members with a level", () => {
  const levels = buildPowerLevels(observer, [
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
  const levels = buildPowerLevels(observer, []);
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

test("no role reaches the observer's level", () => {
  for (const level of Object.values(POWER_LEVEL)) expect(level).toBeLessThan(100);
  expect(buildPowerLevels(observer, [{ matrixUserId: observer, role: "member" }]).users[observer]).toBe(100);
});

test("two maps differ by their levels, not by the order of members or keys", () => {
  const one = buildPowerLevels(observer, [member("ada", "owner"), member("bob", "admin")]);
  const other = buildPowerLevels(observer, [member("bob", "admin"), member("ada", "owner")]);
  expect(JSON.stringify(one)).toBe(JSON.stringify(other));
  const shuffled = Object.fromEntries(Object.entries(one).reverse());
  expect(isSameLevels(shuffled, one)).toBe(true);
  expect(isSameLevels({ ...one, kick: 0 }, one)).toBe(false);
  expect(isSameLevels({ ...one, events: {} }, one)).toBe(false);
  expect(isSameLevels(null, one)).toBe(false);
});

test("every role but guest may post", () => {
  const posting = (Object.keys(POWER_LEVEL) as Role[]).filter((name) => isAllowed(name, "post"));
  expect(posting).toEqual(["owner", "admin", "moderator", "speaker", "member"]);
});
