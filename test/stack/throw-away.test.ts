import { expect, test } from "@jest/globals";
import { withoutServers } from "../../stack/servers/throw-away.mjs";

test("tests see none of the caller's servers, and pip and npm keep their configuration", () => {
  const kept = {
    PATH: "/bin",
    PIP_INDEX_URL: "https://a",
    npm_config_x_URL: "b",
    STACK_REDIS: "system",
    LOG_LEVEL: "debug",
  };
  const dropped = {
    DATABASE_URL: "postgres://x",
    REDIS_URL: "redis://x",
    SYNAPSE_URL: "http://x",
    SYNAPSE_AS_TOKEN: "t",
    MATRIX_MODE: "admin",
    SEAL_KEYS: "k",
    API_PORT: "1",
    STACK_POSTGRES: "url",
  };
  expect(withoutServers({ ...kept, ...dropped })).toEqual(kept);
});
