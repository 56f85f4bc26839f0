import { expect, test } from "@jest/globals";
import {
  formatDirectSlug,
  formatRoomKey,
  parseDirectSlug,
  parseRoomKey,
} from "../../shared/contract/names.ts";
import { aliasLocalpart } from "../../workers/matrix/rooms/alias.ts";

test("a direct room of two users has one slug in either order, sorted by the bytes of their ids", () => {
  expect(formatDirectSlug("bob", "ada")).toBe("ada~bob");
  expect(formatDirectSlug("ada", "Zed")).toBe("Zed~ada");
  expect(formatDirectSlug("a-1", "a.1")).toBe(formatDirectSlug("a.1", "a-1"));
  expect(parseDirectSlug("ada~bob")).toEqual(["ada", "bob"]);
});

test.each(["event:py-meetup", "group:chess", "group:a:b", "direct:ada~bob"])("%s is a room's key", (key) => {
  const address = parseRoomKey(key);
  expect(address && formatRoomKey(address)).toBe(key);
});

test.each([
  "",
  "chess",
  ":chess",
  "group:",
  "team:chess",
  "group:Chess",
  "group:-chess",
  "group:a b",
  `group:${"a".repeat(65)}`,
  "direct:bob~ada",
  "direct:ada~ada",
  "direct:ada",
  "direct:a~b~c",
  "event:ada~bob",
  "user:ada",
])("%s is no room's key", (key) => {
  expect(parseRoomKey(key)).toBeNull();
});

test("no two rooms have the same alias, and no alias reveals a name", () => {
  const rooms = [
    { tenantId: "t1", kind: "group", slug: "chess", generation: 1 },
    { tenantId: "t1", kind: "group", slug: "chess", generation: 2 },
    { tenantId: "t2", kind: "group", slug: "chess", generation: 1 },
    { tenantId: "t1", kind: "event", slug: "chess", generation: 1 },
    { tenantId: "t1", kind: "group", slug: "chess1", generation: 1 },
  ];
  const aliases = rooms.map(aliasLocalpart);
  expect(new Set(aliases).size).toBe(rooms.length);
  for (const alias of aliases) expect(alias).toMatch(/^omc_[0-9a-f]{40}$/);
  expect(aliasLocalpart({ ...(rooms[0] ?? { tenantId: "", kind: "", slug: "", generation: 0 }) })).toBe(
    aliases[0],
  );
});
