import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { parse, stringify } from "yaml";
import { openPaths } from "../../stack/machine/paths.mjs";
import { findFreePort } from "../../stack/machine/ports.mjs";
import { createPythonEnv } from "../../stack/packages/python.mjs";
import { createService } from "../../stack/supervisor/service.mjs";
import {
  createHomeserverConfig,
  createLogConfig,
  createRegistration,
} from "../../stack/servers/synapse/synapse-config.mjs";
import { chooseSynapse } from "../../stack/servers/synapse/synapse.mjs";
import { root } from "./compose-file.ts";

const env = {
  SYNAPSE_SERVER_NAME: "chat.example.org",
  SYNAPSE_PUBLIC_URL: "https://matrix.example.org/",
  SYNAPSE_AS_TOKEN: "a".repeat(64),
  SYNAPSE_REGISTRATION_SECRET: "b".repeat(64),
  SYNAPSE_POSTGRES_PASSWORD: "c".repeat(32),
};

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "omc-synapse-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function render(given: Record<string, string> = env): { status: number | null; stderr: string } {
  const program = join(root, "deploy", "synapse", "render.mjs");
  const { status, stderr } = spawnSync(process.execPath, [program, folder], { env: given, encoding: "utf8" });
  return { status, stderr };
}

function read(name: string): Record<string, unknown> {
  return parse(readFileSync(join(folder, name), "utf8")) as Record<string, unknown>;
}

describe("the homeserver's configuration for docker compose", () => {
  test("registers the Application Service as the stack of the tests does", () => {
    expect(render().status).toBe(0);
    const written = read("appservice.yaml");
    const settings = {
      serverName: env.SYNAPSE_SERVER_NAME,
      asToken: env.SYNAPSE_AS_TOKEN,
      hsToken: String(written["hs_token"]),
      registrationSecret: "",
      macaroonSecret: "",
      formSecret: "",
    };
    expect(written).toEqual(createRegistration(settings));
    expect(read("log.yaml")).toEqual(createLogConfig());
  });

  test("switches on and off what the stack of the tests does", () => {
    render();
    const settings = {
      serverName: env.SYNAPSE_SERVER_NAME,
      asToken: env.SYNAPSE_AS_TOKEN,
      hsToken: "",
      registrationSecret: env.SYNAPSE_REGISTRATION_SECRET,
      macaroonSecret: "",
      formSecret: "",
    };
    const paths = { signingKey: "", logConfig: "", registration: "" };
    const stack: Record<string, unknown> = createHomeserverConfig({
      mode: "admin",
      settings,
      database: { name: "psycopg2", args: {} },
      port: 8_008,
      dataDir: "",
      paths,
    });
    const written = read("homeserver.yaml");
    const same = [
      "server_name",
      "registration_shared_secret",
      "enable_registration",
      "presence",
      "default_room_version",
      "encryption_enabled_by_default_for_room_type",
      "url_preview_enabled",
      "trusted_key_servers",
      "federation_domain_whitelist",
      "push",
      "enable_search",
      "send_federation",
      "notify_appservices_from_worker",
      "user_directory",
      "update_user_directory_from_worker",
      "stats",
    ];
    for (const name of same) expect([name, written[name]]).toEqual([name, stack[name]]);
  });

  test("keeps the secrets that it made when it is written again", () => {
    render();
    const names = ["homeserver.yaml", "appservice.yaml", "signing.key"];
    const first = names.map((name) => readFileSync(join(folder, name), "utf8"));
    expect(render().status).toBe(0);
    expect(names.map((name) => readFileSync(join(folder, name), "utf8"))).toEqual(first);
  });

  test("is refused with every fault when a variable is missing or would break the file", () => {
    const { SYNAPSE_AS_TOKEN: _, ...rest } = env;
    const { status, stderr } = render({ ...rest, SYNAPSE_POSTGRES_PASSWORD: 'pass"word' });
    expect(status).toBe(1);
    expect(stderr).toContain("SYNAPSE_AS_TOKEN is not set");
    expect(stderr).toContain("SYNAPSE_POSTGRES_PASSWORD may have");
  });

  test("starts a Synapse that lets the Application Service speak from a device", async () => {
    render();
    const port = await findFreePort();
    const inFolder = readFileSync(join(folder, "homeserver.yaml"), "utf8").replaceAll("/data/", `${folder}/`);
    const config = { ...(parse(inFolder) as { listeners: object[] }), database: sqlite() };
    const [listener] = config.listeners;
    config.listeners = [{ ...listener, port, bind_addresses: ["127.0.0.1"] }];
    writeFileSync(join(folder, "here.yaml"), stringify(config));
    const program = await chooseSynapse({
      env: {},
      mode: "appservice",
      cacheDir: openPaths().cacheDir,
      log: () => undefined,
    });
    if (!("command" in program)) throw new Error("a Synapse was named by its URL");
    const url = `http://127.0.0.1:${String(port)}`;
    const ask = (method: string, path: string, body?: object) =>
      fetch(`${url}/_matrix/client/${path}`, {
        method,
        headers: { authorization: `Bearer ${env.SYNAPSE_AS_TOKEN}` },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
    const service = createService({
      name: "synapse",
      command: program.command(join(folder, "here.yaml"), folder),
      cwd: folder,
      env: createPythonEnv(),
      logPath: join(folder, "synapse.log"),
      isReady: () =>
        ask("GET", "versions").then(
          (answer) => answer.ok,
          () => false,
        ),
      readyLimitMs: 60_000,
    });
    try {
      await service.start();
      const account = { type: "m.login.application_service", username: "omc_ann", inhibit_login: true };
      expect((await ask("POST", "v3/register", account)).status).toBe(200);
      const sender = "user_id=@omc_ann:chat.example.org";
      expect((await ask("PUT", `v3/devices/OPENMEET?${sender}`, {})).status).toBe(201);
      expect((await ask("POST", `v3/createRoom?${sender}&device_id=OPENMEET`, {})).status).toBe(200);
    } finally {
      await service.stop();
    }
  }, 120_000);

  function sqlite(): object {
    return { name: "sqlite3", args: { database: join(folder, "homeserver.db") } };
  }
});
