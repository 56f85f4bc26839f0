import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { openDb, rowsOf, type Db } from "../../../shared/db/connection/open.ts";
import { createLog } from "../../../shared/platform/log.ts";
import { closeRedis, openRedis, waitForRedis, type Redis } from "../../../shared/platform/redis.ts";
import { openStandIn, type StandIn } from "./homeserver/stand-in.ts";
import { findPort, TIER_NAMES, type TierName } from "./tiers.ts";
import { TierProcess } from "./processes.ts";
import { openLink, type Link } from "./proxy.ts";
import { createRandom } from "./random.ts";

const execute = promisify(execFile);

/** A server that only this environment uses, so that it may stop and start it. */
export type OwnService = {
  readonly pid: number | undefined;
  start: () => Promise<void>;
  stop: () => Promise<void>;
};
export type OwnServers = {
  databaseUrl: string;
  redisUrl: string;
  services: Record<string, OwnService>;
};

/** A real homeserver instead of the stand-in. */
export type RealHomeserver = { url: string; serverName: string; asToken: string };

export type EnvironmentOptions = {
  servers: OwnServers;
  /** The folder of the compiled product. */
  distDir: string;
  /** Processes of each tier; 1 by default. */
  counts?: Partial<Record<TierName, number>>;
  /** Compiled programs that replace those of tiers, from `distDir`. */
  programs?: Partial<Record<TierName, string>>;
  seed?: number;
  /** How long the stand-in takes for a send; 0 by default. */
  sendMs?: number;
  homeserver?: RealHomeserver;
  /** How rooms are read, see MATRIX_READ; `events` by default, as in the stack. */
  reads?: "sync" | "events";
  /** The folder of the processes' logs; none by default. */
  logDir?: string | null;
};

export const LINKS = [
  "apiPostgres",
  "apiRedis",
  "workersPostgres",
  "workersRedis",
  "syncPostgres",
  "syncRedis",
  "realtimePostgres",
  "realtimeRedis",
  "homeserver",
  "api",
  "realtime",
] as const;
export type LinkName = (typeof LINKS)[number];

/** The whole product as real processes, with a breakable link between each two, on servers that may be killed. */
export type Environment = {
  /** The homeserver, unless a real one is given. */
  standIn: StandIn;
  links: Record<LinkName, Link>;
  processes: TierProcess[];
  of: (tier: TierName) => TierProcess[];
  db: Db;
  redis: Redis;
  servers: OwnServers;
  apiUrl: string;
  socketUrl: string;
  tenant: { slug: string; serverKey: string; operatorKey: string };
  sql: <Row>(text: string, bindings?: readonly unknown[]) => Promise<Row[]>;
  /** Runs an operator's command and returns what it prints. */
  admin: (...args: string[]) => Promise<string>;
  /** Ends every fault and waits until every process runs. */
  heal: () => Promise<void>;
  close: () => Promise<void>;
};

export async function openEnvironment(options: EnvironmentOptions): Promise<Environment> {
  const { servers, distDir } = options;
  const random = createRandom(options.seed ?? 1);
  const standIn = await openStandIn({
    serverName: "stand-in.test",
    asToken: randomBytes(24).toString("hex"),
    random,
    sendMs: options.sendMs ?? 0,
  });
  const homeserver = options.homeserver ?? standIn;
  const processes: TierProcess[] = [];
  const of = (tier: TierName) => processes.filter((process) => process.tier === tier);
  const links = await openLinks(servers, homeserver.url, (tier) => of(tier).map(({ port }) => port));
  const base: NodeJS.ProcessEnv = {
    PATH: process.env["PATH"],
    SYNAPSE_URL: `http://127.0.0.1:${String(links.homeserver.port)}`,
    SYNAPSE_SERVER_NAME: homeserver.serverName,
    SYNAPSE_AS_TOKEN: homeserver.asToken,
    MATRIX_READ: options.reads ?? "events",
    SEAL_KEYS: `faults:${randomBytes(32).toString("base64")}`,
  };
  const direct = { ...base, DATABASE_URL: servers.databaseUrl, REDIS_URL: servers.redisUrl };
  await run([join(distDir, "migrations/main.js")], direct);
  const tenant = await makeTenant(distDir, direct);
  for (const tier of TIER_NAMES) {
    const env = { ...base, ...linkedUrls(servers, links, tier) };
    processes.push(...(await makeProcesses(options, tier, env)));
  }
  await Promise.all(processes.map((process) => process.start()));
  const db = openDb({ url: servers.databaseUrl, name: "faults", max: 4 });
  const redis = openRedis(servers.redisUrl, createLog({ level: "silent", tier: "faults" }), "faults");
  await waitForRedis(redis, 5_000);
  return {
    standIn,
    links,
    processes,
    of,
    db,
    redis,
    servers,
    tenant,
    apiUrl: `http://127.0.0.1:${String(links.api.port)}`,
    socketUrl: `ws://127.0.0.1:${String(links.realtime.port)}/connection/websocket`,
    sql: <Row>(text: string, bindings: readonly unknown[] = []) =>
      retryRead(() => rowsOf<Row>(db, text, bindings)),
    admin: (...args) => run([join(distDir, "workers/admin.js"), ...args], direct),
    heal: () => heal({ processes, links, standIn, servers }),
    close: async () => {
      await Promise.all(processes.map((process) => process.stop()));
      closeRedis(redis);
      await db.destroy();
      await Promise.all(Object.values(links).map((link) => link.close()));
      await standIn.stop();
    },
  };
}

async function makeProcesses(
  { distDir, logDir = null, counts, programs }: EnvironmentOptions,
  tier: TierName,
  env: NodeJS.ProcessEnv,
): Promise<TierProcess[]> {
  const processes: TierProcess[] = [];
  for (let index = 0; index < (counts?.[tier] ?? 1); index++) {
    const name = `${tier}-${String(index)}`;
    const program = programs?.[tier];
    processes.push(new TierProcess(tier, { name, port: await findPort(), distDir, program, env, logDir }));
  }
  return processes;
}

async function openLinks(
  servers: OwnServers,
  homeserverUrl: string,
  portsOf: (tier: TierName) => number[],
): Promise<Record<LinkName, Link>> {
  const [postgres, redis, homeserver] = [servers.databaseUrl, servers.redisUrl, homeserverUrl].map((url) =>
    Number(new URL(url).port),
  );
  const targets = (name: LinkName) => {
    if (name === "api" || name === "realtime") return portsOf(name);
    return [(name.endsWith("Postgres") ? postgres : name.endsWith("Redis") ? redis : homeserver) ?? 0];
  };
  const opened = await Promise.all(
    LINKS.map(async (name) => [name, await openLink(() => targets(name))] as const),
  );
  return Object.fromEntries(opened) as Record<LinkName, Link>;
}

function linkedUrls(servers: OwnServers, links: Record<LinkName, Link>, tier: TierName): NodeJS.ProcessEnv {
  return {
    DATABASE_URL: throughPort(servers.databaseUrl, links[`${tier}Postgres`].port),
    REDIS_URL: throughPort(servers.redisUrl, links[`${tier}Redis`].port),
  };
}

function throughPort(text: string, port: number): string {
  const url = new URL(text);
  url.hostname = "127.0.0.1";
  url.port = String(port);
  return url.href;
}

async function makeTenant(distDir: string, env: NodeJS.ProcessEnv): Promise<Environment["tenant"]> {
  const slug = "faults";
  const admin = join(distDir, "workers/admin.js");
  await run([admin, "tenant", "create", slug, "--json"], env);
  const makeKey = async (role: string) => {
    const output = await run([admin, "key", "create", "--tenant", slug, "--role", role, "--json"], env);
    return (JSON.parse(output) as { key: string }).key;
  };
  return { slug, serverKey: await makeKey("server"), operatorKey: await makeKey("operator") };
}

async function run(args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const { stdout } = await execute(process.execPath, [...args], { env });
  return stdout;
}

/** Repeats a read that failed: its server may have just been restarted. */
async function retryRead<T>(read: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await read();
    } catch (error) {
      if (tries >= 20) throw error;
      await sleep(250);
    }
  }
}

async function heal({
  processes,
  links,
  standIn,
  servers,
}: Pick<Environment, "processes" | "links" | "standIn" | "servers">): Promise<void> {
  standIn.faults.clear();
  for (const link of Object.values(links)) link.heal();
  for (const service of Object.values(servers.services))
    if (service.pid !== undefined) process.kill(service.pid, "SIGCONT");
  for (const started of processes) {
    started.signal("SIGCONT");
    started.isSupervised = true;
  }
  await Promise.all(processes.filter(({ isSpecial }) => isSpecial).map((started) => started.stop()));
  for (const started of processes) if (started.pid === null) started.launch();
  await Promise.all(processes.map((started) => started.ready()));
}

/** Sends a signal to a server, SIGKILL by default, and waits until it has ended. */
export async function killService(
  service: OwnService | undefined,
  signal: NodeJS.Signals = "SIGKILL",
): Promise<void> {
  if (service?.pid === undefined) return;
  process.kill(service.pid, signal);
  const isGone = () => service.pid === undefined;
  while (!isGone()) await sleep(10);
}
