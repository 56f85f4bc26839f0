import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";

/** The folder of the checkout. */
export const root = join(import.meta.dirname, "..", "..");

export function readRoot(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

const text = z.union([z.string(), z.number().transform(String)]);
const service = z.looseObject({
  image: z.string(),
  build: z.string().optional(),
  command: z.array(text).default([]),
  entrypoint: z.array(text).default([]),
  environment: z.record(z.string(), text).default({}),
  volumes: z.array(z.string()).default([]),
  ports: z.array(z.string()).default([]),
  restart: z.string(),
  init: z.boolean().default(false),
  mem_limit: z.string(),
  healthcheck: z.looseObject({ test: z.array(z.string()) }).optional(),
  depends_on: z
    .record(z.string(), z.object({ condition: z.string(), restart: z.boolean().default(false) }))
    .default({}),
});
export type ComposeService = z.infer<typeof service>;

const composeFile = z.looseObject({
  services: z.record(z.string(), service),
  volumes: z.record(z.string(), z.unknown()),
});

/** docker-compose.yml with its anchors resolved, as it is written and as the tests read it. */
export function readCompose(): { raw: unknown; services: Record<string, ComposeService>; volumes: string[] } {
  const raw: unknown = parse(readRoot("docker-compose.yml"), { merge: true });
  const file = composeFile.parse(raw);
  return { raw, services: file.services, volumes: Object.keys(file.volumes) };
}

/** Replaces `${NAME}`, `${NAME:-default}` and `${NAME:?why}` as compose does. */
export function interpolate(written: string, env: Record<string, string>): string {
  return written.replace(
    /\$\{(\w+)(?::([-?])([^}]*))?\}/g,
    (_whole, name: string, how: string | undefined, rest: string) => {
      const value = env[name] ?? "";
      if (value !== "") return value;
      if (how === "?") throw new Error(`${name}: ${rest}`);
      return how === "-" ? rest : "";
    },
  );
}

/** The variables that a text of compose takes from .env. */
export function variablesOf(written: string): string[] {
  return [...written.matchAll(/(?<!\$)\$\{(\w+)/g)].map((match) => match[1] ?? "");
}

/** A file of `NAME=value` lines. */
export function readEnvFile(path: string): Record<string, string> {
  return Object.fromEntries(
    readRoot(path)
      .split("\n")
      .filter((line) => /^\w+=/.test(line))
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}

/** .env.example, with what a person must fill in. */
export function fillIn(): Record<string, string> {
  return {
    ...readEnvFile(".env.example"),
    SYNAPSE_AS_TOKEN: "a".repeat(64),
    SYNAPSE_REGISTRATION_SECRET: "b".repeat(64),
    SEAL_KEYS: `k1:${Buffer.alloc(32, 7).toString("base64")}`,
    POSTGRES_PASSWORD: "postgrespassword",
    SYNAPSE_POSTGRES_PASSWORD: "synapsepassword",
  };
}
