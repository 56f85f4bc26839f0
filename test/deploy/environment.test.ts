import { describe, expect, test } from "@jest/globals";
import { readConfig } from "../../shared/platform/config.ts";
import { fillIn, readEnvFile, readRoot } from "./compose-file.ts";

/** For the fault tests; operators do not set it. */
const testOnly = ["KILL_POINT"];
const variables = [...readRoot("shared/platform/config.ts").matchAll(/^ {2}([A-Z_]+):/gm)]
  .flatMap((match) => match[1] ?? [])
  .filter((name) => !testOnly.includes(name));
/** For the containers beside ours. */
const composeOnly = [
  "POSTGRES_PASSWORD",
  "SYNAPSE_POSTGRES_PASSWORD",
  "PUBLISH_ADDRESS",
  "SYNAPSE_PORT",
  "OPENMEET_CHAT_VERSION",
  "PROMETHEUS_PORT",
];

describe(".env.example", () => {
  test("has every variable that the processes read, and no other", () => {
    expect(Object.keys(readEnvFile(".env.example")).sort()).toEqual([...variables, ...composeOnly].sort());
  });

  test("is enough to start with, once its secrets are filled in", () => {
    expect(() => readConfig(fillIn())).not.toThrow();
  });

  test("shows the defaults as they are", () => {
    const {
      DATABASE_URL,
      REDIS_URL,
      SYNAPSE_URL,
      SYNAPSE_SERVER_NAME,
      SYNAPSE_AS_TOKEN,
      SEAL_KEYS,
      ...rest
    } = fillIn();
    const needed = { DATABASE_URL, REDIS_URL, SYNAPSE_URL, SYNAPSE_SERVER_NAME, SYNAPSE_AS_TOKEN, SEAL_KEYS };
    const registration = { SYNAPSE_REGISTRATION_SECRET: rest["SYNAPSE_REGISTRATION_SECRET"] };
    expect(readConfig({ ...needed, ...rest })).toEqual(readConfig({ ...needed, ...registration }));
  });
});

describe("the README", () => {
  const rows = readRoot("README.md")
    .split("\n")
    .filter((line) => line.startsWith("| `"));

  test.each(variables)("describes %s", (variable) => {
    expect(rows.filter((row) => row.startsWith(`| \`${variable}\``))).toHaveLength(1);
  });

  test("names every script of package.json", () => {
    const { scripts } = JSON.parse(readRoot("package.json")) as { scripts: Record<string, string> };
    const missing = Object.keys(scripts).filter(
      (name) => name !== "format" && !new RegExp(`\`(npm (run )?)?${name}\\b`).test(readRoot("README.md")),
    );
    expect(missing).toEqual([]);
  });
});
