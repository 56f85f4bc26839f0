import { expect, test } from "@jest/globals";
import { readConfig } from "../../shared/platform/config.ts";
import { runProgram } from "../support/journey/tiers.ts";

const good = {
  DATABASE_URL: "postgres://127.0.0.1/chat",
  REDIS_URL: "redis://127.0.0.1",
  SYNAPSE_URL: "http://127.0.0.1:8008",
  SYNAPSE_SERVER_NAME: "hs.test",
  SYNAPSE_AS_TOKEN: "a token of the tests",
  SEAL_KEYS: `t:${Buffer.alloc(32, 7).toString("base64")}`,
};

test("a start names every fault at once, a missing secret and a bad value alike", () => {
  const { SYNAPSE_AS_TOKEN: _, ...rest } = good;
  const read = () => readConfig({ ...rest, SEAL_KEYS: "short", API_PORT: "no", ALLOWED_ORIGINS: "*" });
  for (const name of ["SEAL_KEYS", "API_PORT", "ALLOWED_ORIGINS", "SYNAPSE_AS_TOKEN"]) {
    expect(read).toThrow(name);
  }
});

test.each([
  ["appservice", "SYNAPSE_AS_TOKEN"],
  ["admin", "SYNAPSE_REGISTRATION_SECRET"],
])("the mode %s needs %s", (mode, secret) => {
  const env = { ...good, SYNAPSE_AS_TOKEN: "", MATRIX_MODE: mode };
  expect(() => readConfig(env)).toThrow(`${secret}: needed when MATRIX_MODE is ${mode}`);
  expect(() => readConfig({ ...env, [secret]: "a secret of the tests" })).not.toThrow();
});

test.each([
  "https://app.example.org/",
  "https://app.example.org/chat",
  "https://app.example.org:443",
  "https://App.example.org",
  "app.example.org",
  "ftp://app.example.org",
  "*",
  "null",
])("the origin %s, which no browser sends, is refused by name", (origin) => {
  const env = { ...good, ALLOWED_ORIGINS: `https://good.example, ${origin}` };
  expect(() => readConfig(env)).toThrow(`${origin} is not an origin as browsers name it`);
});

test("the origins that browsers and apps send are accepted, also with a port and with plain http", () => {
  const origins = ["https://app.example.org", "http://localhost:5173", "capacitor://localhost"];
  expect(readConfig({ ...good, ALLOWED_ORIGINS: origins.join(", ") }).allowedOrigins).toEqual(origins);
  expect(readConfig(good).allowedOrigins).toEqual([]);
});

test.each(["0x50", "8e3", "80.0", "+80", "65536", "-1"])("the port %s is refused", (text) => {
  expect(() => readConfig({ ...good, API_PORT: text })).toThrow("API_PORT");
});

test("a port in digits is accepted, and 0 means any free port", () => {
  expect(readConfig({ ...good, API_PORT: "0", JOBS_PORT: "4002" }).ports).toEqual({
    api: 0,
    realtime: 3001,
    jobs: 4002,
    sync: 3003,
  });
});

test("the transport is one of three, and ws runs in one process only", () => {
  expect(readConfig(good).transport).toBe("auto");
  expect(readConfig({ ...good, TRANSPORT: "ws" }).transport).toBe("ws");
  expect(readConfig({ ...good, TRANSPORT: "uws", REALTIME_PROCESSES: "4" }).transport).toBe("uws");
  expect(() => readConfig({ ...good, TRANSPORT: "tcp" })).toThrow("TRANSPORT");
  const read = () => readConfig({ ...good, TRANSPORT: "ws", REALTIME_PROCESSES: "2", API_PORT: "no" });
  expect(read).toThrow("REALTIME_PROCESSES: must be 1 when TRANSPORT is ws");
  expect(read).toThrow("API_PORT");
});

test.each([["api/main.js"], ["workers/main.js"], ["realtime/main.js"]])(
  "%s started with a bad environment prints its faults as a list, without a stack, and exits with 2",
  async (program) => {
    await expect(runProgram([program], { PATH: process.env["PATH"], API_PORT: "no" })).rejects.toThrow(
      new RegExp(
        `^${program} failed \\(2\\): The environment is not usable:\n(  - [A-Z_]+: .+\n)+See \\.env\\.example\\.\n$`,
      ),
    );
  },
);
