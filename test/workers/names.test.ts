import { expect, test } from "@jest/globals";
import {
  formatDirectSlug,
  formatRoomKey,
  parseDirectSlug,
  parseRoomKey,
} from "../../shared/contract/names.ts";

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
