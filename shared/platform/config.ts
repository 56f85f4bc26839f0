import { isIP } from "node:net";
import { z } from "zod";
import { parseFailpointSpec, type FailpointSpec } from "./failpoints.ts";
import { webOrigin } from "../contract/names.ts";
import type { SealKey } from "./seal.ts";

const count = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, "must be a whole number, in digits alone")
    .transform(Number)
    .pipe(z.int().min(min).max(max));
const port = count(0, 65_535);
const list = z
  .string()
  .default("")
  .transform((text) =>
    text
      .split(",")
      .map((item) => item.trim())
      .filter(Boolean),
  );
const url = (...protocols: string[]) =>
  z
    .string()
    .refine(
      (text) => protocols.includes(safeProtocol(text)),
      `must be a URL starting with ${protocols.join(" or ")}//`,
    );

const environment = z.object({
  DATABASE_URL: url("postgres:", "postgresql:"),
  REDIS_URL: url("redis:", "rediss:"),
  SYNAPSE_URL: url("http:", "https:"),
  SYNAPSE_SERVER_NAME: z
    .string()
    .regex(/^[a-zA-Z0-9.:-]+$/, "must be a host name, with a port if it has one"),
  SYNAPSE_AS_TOKEN: z.string().min(16).optional(),
  SYNAPSE_REGISTRATION_SECRET: z.string().min(16).optional(),
  SYNAPSE_PUBLIC_URL: url("http:", "https:").optional(),
  MATRIX_MODE: z.enum(["appservice", "admin"]).default("appservice"),
  MATRIX_READ: z.enum(["sync", "events"]).default("sync"),
  SEAL_KEYS: z.string().transform(parseSealKeys),
  API_PORT: port.default(3000),
  REALTIME_PORT: port.default(3001),
  JOBS_PORT: port.default(3002),
  SYNC_PORT: port.default(3003),
  BIND_ADDRESS: z
    .string()
    .refine((text) => isIP(text) !== 0, "must be an IPv4 or IPv6 address of this machine")
    .optional(),
  API_CONNECTIONS: count(1, 100_000).default(5_000),
  REALTIME_PROCESSES: count(1, 64).default(1),
  TRANSPORT: z.enum(["auto", "uws", "ws"]).default("auto"),
  ALLOWED_ORIGINS: list.pipe(z.array(webOrigin)),
  TRUSTED_PROXIES: list.refine(
    (proxies) => proxies.every(isProxy),
    "must be addresses, networks like 10.0.0.0/8, loopback, linklocal or uniquelocal",
  ),
  KILL_POINT: z.string().transform(readFailpoint).optional(),
  LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
});

/** The configuration of the processes, checked and typed. */
export type Config = {
  databaseUrl: string;
  redisUrl: string;
  homeserver: HomeserverConfig;
  /** The address of the homeserver for ordinary Matrix clients. */
  publicSynapseUrl: string;
  /** Whether observers read the homeserver's stream of events when it is complete. Only one process may do so. */
  readsStream: boolean;
  sealKeys: SealKey[];
  ports: { api: number; realtime: number; jobs: number; sync: number };
  /** The address on which every process listens; undefined: every address of the machine, IPv4 and IPv6. */
  bindAddress: string | undefined;
  /** Connections that an api process holds at most. */
  apiConnections: number;
  realtimeProcesses: number;
  /** The WebSocket server. `auto`: uws, or ws where the native library of uws does not load. */
  transport: z.infer<typeof environment>["TRANSPORT"];
  /** Origins that may open a socket or read the API from a browser. Empty: every origin. */
  allowedOrigins: string[];
  /** Addresses and networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted. Empty: none. */
  trustedProxies: string[];
  logLevel: z.infer<typeof environment>["LOG_LEVEL"];
  /** Where a test lets the process die; null in production. */
  failpoint: FailpointSpec | null;
};

export type HomeserverConfig = {
  baseUrl: string;
  serverName: string;
  mode: "appservice" | "admin";
  asToken: string | null;
  registrationSecret: string | null;
};

/** Names every fault of the environment at once. */
export class ConfigError extends Error {
  constructor(faults: readonly string[]) {
    super(
      `The environment is not usable:\n${faults.map((fault) => `  - ${fault}`).join("\n")}\nSee .env.example.`,
    );
    this.name = "ConfigError";
  }
}

/** @throws ConfigError naming every missing or bad variable. */
export function readConfig(env: Record<string, string | undefined>): Config {
  // An empty variable counts as absent, as in a shell or a compose file.
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
  const parsed = environment.safeParse(given);
  const issues = parsed.error?.issues ?? [];
  const faults = issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  // Outside the schema: zod checks several variables together only when each one is valid.
  faults.push(...findMissingSecret(given), ...findUnsharablePort(given));
  if (!parsed.success || faults.length > 0) throw new ConfigError(faults);
  const values = parsed.data;
  return {
    databaseUrl: values.DATABASE_URL,
    redisUrl: values.REDIS_URL,
    homeserver: {
      baseUrl: values.SYNAPSE_URL.replace(/\/$/, ""),
      serverName: values.SYNAPSE_SERVER_NAME,
      mode: values.MATRIX_MODE,
      asToken: values.SYNAPSE_AS_TOKEN ?? null,
      registrationSecret: values.SYNAPSE_REGISTRATION_SECRET ?? null,
    },
    publicSynapseUrl: (values.SYNAPSE_PUBLIC_URL ?? values.SYNAPSE_URL).replace(/\/$/, ""),
    readsStream: values.MATRIX_READ === "events",
    sealKeys: values.SEAL_KEYS,
    ports: {
      api: values.API_PORT,
      realtime: values.REALTIME_PORT,
      jobs: values.JOBS_PORT,
      sync: values.SYNC_PORT,
    },
    bindAddress: values.BIND_ADDRESS,
    apiConnections: values.API_CONNECTIONS,
    realtimeProcesses: values.REALTIME_PROCESSES,
    transport: values.TRANSPORT,
    allowedOrigins: values.ALLOWED_ORIGINS,
    trustedProxies: values.TRUSTED_PROXIES,
    logLevel: values.LOG_LEVEL,
    failpoint: values.KILL_POINT ?? null,
  };
}

function findMissingSecret(given: Record<string, string | undefined>): string[] {
  const mode = environment.shape.MATRIX_MODE.safeParse(given["MATRIX_MODE"]).data;
  const needed = { appservice: "SYNAPSE_AS_TOKEN", admin: "SYNAPSE_REGISTRATION_SECRET" };
  if (mode === undefined || given[needed[mode]] !== undefined) return [];
  return [`${needed[mode]}: needed when MATRIX_MODE is ${mode}`];
}

/** The transport ws cannot share its port between processes. */
function findUnsharablePort(given: Record<string, string | undefined>): string[] {
  const processes = environment.shape.REALTIME_PROCESSES.safeParse(given["REALTIME_PROCESSES"]).data ?? 1;
  if (given["TRANSPORT"] !== "ws" || processes === 1) return [];
  return ["REALTIME_PROCESSES: must be 1 when TRANSPORT is ws, which cannot share its port"];
}

function parseSealKeys(text: string, context: z.RefinementCtx): SealKey[] {
  const keys = text.split(",").map((pair) => {
    const colon = pair.indexOf(":");
    return { id: pair.slice(0, colon).trim(), key: Buffer.from(pair.slice(colon + 1), "base64") };
  });
  const isUsable = keys.every(({ id, key }) => /^[A-Za-z0-9_-]{1,32}$/.test(id) && key.length === 32);
  if (!isUsable || new Set(keys.map(({ id }) => id)).size !== keys.length) {
    context.addIssue({
      code: "custom",
      message: "must be id:base64,… with 32 bytes each and ids of letters and digits",
    });
  }
  return keys;
}

function isProxy(text: string): boolean {
  if (["loopback", "linklocal", "uniquelocal"].includes(text)) return true;
  const [address = "", bits, ...rest] = text.split("/");
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
}

function readFailpoint(text: string, context: z.RefinementCtx): FailpointSpec | null {
  const spec = parseFailpointSpec(text);
  if (spec === null)
    context.addIssue({ code: "custom", message: "must be the name of a kill point, or name:passage" });
  return spec;
}

function safeProtocol(text: string): string {
  return URL.canParse(text) ? new URL(text).protocol : "";
}
