import { describe, expect, test } from "@jest/globals";
import { resolvePaths } from "../../stack/machine/paths.mjs";

const given = { checkout: "/home/ann/chat", home: "/home/ann", env: {} };

describe("the folders of a checkout", () => {
  test("are the system's for root, so that Postgres may run as another user", () => {
    const { cacheDir, stateDir, stackDir } = resolvePaths({ ...given, root: true });
    expect(cacheDir).toBe("/var/cache/openmeet-chat");
    expect(stateDir).toMatch(/^\/var\/lib\/openmeet-chat\/[0-9a-f]{12}$/);
    expect(stackDir).toBe("/home/ann/chat/.stack");
  });

  test("are an ordinary user's own", () => {
    const { cacheDir, stateDir } = resolvePaths({ ...given, root: false });
    expect(cacheDir).toBe("/home/ann/.cache/openmeet-chat");
    expect(stateDir).toMatch(/^\/home\/ann\/\.local\/state\/openmeet-chat\/[0-9a-f]{12}$/);
  });

  test("follow the XDG variables", () => {
    const env = { XDG_CACHE_HOME: "/c", XDG_STATE_HOME: "/s" };
    const { cacheDir, stateDir } = resolvePaths({ ...given, root: false, env });
    expect(cacheDir).toBe("/c/openmeet-chat");
    expect(stateDir).toMatch(/^\/s\/openmeet-chat\/./);
  });

  test("keep the data of two checkouts apart", () => {
    const other = resolvePaths({ ...given, root: true, checkout: "/home/ann/chat-2" });
    expect(other.stateDir).not.toBe(resolvePaths({ ...given, root: true }).stateDir);
  });
});
