import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Fault, Unavailable } from "../../machine/fault.mjs";
import { createSecret, readJson, writePrivate, writePrivateJson } from "../../machine/files.mjs";
import { findEmbeddedRedis, findSystemRedis, installSystemRedis } from "./redis-binaries.mjs";
import { askRedis } from "./redis-wire.mjs";
import { createService } from "../../supervisor/service.mjs";
import { chooseSource } from "../sources.mjs";

/**
 * A running Redis named by its URL, or the program to start one.
 * @param {{env: NodeJS.ProcessEnv, cacheDir: string, log: (line: string) => void}} given
 * @returns {Promise<{url: string} | {binary: string}>}
 */
export function chooseRedis({ env, cacheDir, log }) {
  return chooseSource({
    server: "redis",
    env,
    log,
    sources: {
      url: () => checkUrl(env.REDIS_URL),
      embedded: () => findEmbeddedRedis({ cacheDir, log }),
      system: () => findSystemRedis(),
      apt: () => installSystemRedis({ cacheDir, log }),
    },
  });
}

/** @param {string | undefined} text */
async function checkUrl(text) {
  if (!text) throw new Unavailable("REDIS_URL is not set");
  if (!/^rediss?:$/.test(URL.canParse(text) ? new URL(text).protocol : "")) {
    throw new Fault("REDIS_URL is not a Redis URL", {
      exitCode: 2,
      advice: "write redis://USER:PASSWORD@HOST:PORT",
    });
  }
  const { host } = new URL(text);
  if (!(await isRedisReady(text)))
    throw new Fault(`no Redis answers at ${host}`, {
      advice: "start it, check its password, or unset REDIS_URL to have one started",
    });
  return { text: `REDIS_URL at ${host}`, value: { url: text } };
}

/**
 * A Redis of our own on a port of 127.0.0.1, its append-only file below the state folder.
 * @param {{binary: string, stateDir: string, logDir: string, port: number, durable: boolean}} given
 *   `durable: false` never waits for the disk: a slow disk would delay every write by seconds
 */
export function createRedis({ binary, stateDir, logDir, port, durable }) {
  const dataDir = join(stateDir, "redis");
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const settingsPath = join(stateDir, "redis.json");
  if (readJson(settingsPath) === undefined) writePrivateJson(settingsPath, { password: createSecret() });
  /** @type {{password: string}} */
  const { password } = readJson(settingsPath);
  const configPath = join(stateDir, "redis.conf");
  writePrivate(
    configPath,
    [
      "bind 127.0.0.1",
      `port ${port}`,
      `requirepass ${password}`,
      `dir "${dataDir}"`,
      "daemonize no",
      "appendonly yes",
      `appendfsync ${durable ? "everysec" : "no"}`,
      "maxmemory-policy noeviction",
      'save ""',
      "",
    ].join("\n"),
  );
  const url = `redis://:${password}@127.0.0.1:${port}`;
  const service = createService({
    name: "redis",
    command: [binary, configPath],
    logPath: join(logDir, "redis.log"),
    cwd: dataDir,
    isReady: () => isRedisReady(url),
    readyLimitMs: 60_000,
  });
  return { service, url };
}

/** @param {string} url */
async function isRedisReady(url) {
  try {
    return (await askRedis(url, [["PING"]]))[0] === "PONG";
  } catch {
    // Not listening yet.
    return false;
  }
}

/**
 * @throws Fault for a Redis that evicts keys when its memory is full, or is too old: queues would lose jobs silently.
 * @param {string} url
 */
export async function refuseEvictingRedis(url) {
  const [config, memory, server] = await askRedis(url, [
    ["CONFIG", "GET", "maxmemory-policy"],
    ["INFO", "memory"],
    ["INFO", "server"],
  ]);
  // A hosted Redis may forbid CONFIG; INFO has the same value.
  const policy = Array.isArray(config) ? config[1] : /maxmemory_policy:(\S+)/.exec(String(memory))?.[1];
  if (policy !== "noeviction") {
    throw new Fault(
      `the Redis at ${new URL(url).host} has the maxmemory-policy "${policy}", under which it drops queued work`,
      {
        advice:
          "set maxmemory-policy to noeviction (CONFIG SET maxmemory-policy noeviction, and in its configuration file)",
      },
    );
  }
  const version = /redis_version:(\S+)/.exec(String(server))?.[1] ?? "0";
  if (Number.parseFloat(version) < 6.2)
    throw new Fault(`the Redis at ${new URL(url).host} is ${version}; 6.2 is the oldest that works`);
}
