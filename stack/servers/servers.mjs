import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../machine/fault.mjs";
import { readJson, writePrivateJson } from "../machine/files.mjs";
import { withProgress } from "../machine/log.mjs";
import { findFreePort, isPortFree } from "../machine/ports.mjs";
import { choosePostgres, createPostgres } from "./postgres/postgres.mjs";
import { chooseRedis, createRedis, refuseEvictingRedis } from "./redis/redis.mjs";
import { listSources } from "./sources.mjs";
import { chooseSynapse, createSynapse } from "./synapse/synapse.mjs";

/** @typedef {import("../supervisor/service.mjs").Service} Service */

/**
 * @typedef {object} ServersOptions
 * @property {string} stateDir the servers' data, their secrets and the ports they keep
 * @property {string} cacheDir what is downloaded once for all
 * @property {string} [logDir] `<stateDir>/logs` by default
 * @property {import("./synapse/synapse-config.mjs").SynapseMode} mode
 * @property {(line: string) => void} log
 * @property {NodeJS.ProcessEnv} [env] where sources are named; this process's own by default
 * @property {boolean} [durable] false for data that is thrown away; true by default
 * @property {("postgres" | "redis" | "synapse")[]} [only] all three by default
 * @property {Promise<unknown>} [installed] what Postgres waits for: its programs come with the npm packages
 * @property {(service: Service) => void} [onService] called with each service before it starts
 */

/**
 * What was started or found: where each server is, and the processes that are ours.
 * @typedef {object} Servers
 * @property {string} databaseUrl
 * @property {string} redisUrl
 * @property {string} synapseUrl
 * @property {string} synapseServerName
 * @property {string} [synapseData] "postgres" or "sqlite", of a Synapse that was started here
 * @property {string} [asToken] in mode "appservice"
 * @property {string} [registrationSecret]
 * @property {Record<string, Service>} services those started here, not those named by a URL
 * @property {Record<string, number>} pids of the services as they are now
 * @property {{postgresBin?: string, redisBinary?: string}} programs
 * @property {(name: string) => Promise<void>} restart stops and starts one on its port
 * @property {() => Promise<void>} stop stops all
 */

/**
 * Finds or starts Postgres, Redis and Synapse, side by side. When one fails, those that started are stopped.
 * @param {ServersOptions} options
 * @returns {Promise<Servers>}
 */
export async function startServers(options) {
  const { stateDir, env = process.env, only = ["postgres", "redis", "synapse"] } = options;
  for (const name of only) listSources(name, env);
  const context = {
    ...options,
    env,
    logDir: options.logDir ?? join(stateDir, "logs"),
    durable: options.durable ?? true,
  };
  mkdirSync(context.logDir, { recursive: true });
  const ports = openPorts(join(stateDir, "ports.json"));
  const findDatabase = async () => (await opening.get("postgres"))?.forSynapse;
  const openers = {
    postgres: () => openPostgres(context, ports),
    redis: () => openRedis(context, ports),
    synapse: () => openSynapse({ ...context, findDatabase }, ports),
  };
  /** @type {Map<string, Promise<Opened>>} */
  const opening = new Map(only.map((name) => [name, openers[name]()]));
  const results = await Promise.allSettled(opening.values());
  const opened = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  /** @type {Record<string, Service>} */
  const services = Object.fromEntries(
    opened.flatMap(({ service }) => (service ? [[service.name, service]] : [])),
  );
  const stop = async () => {
    // Before its Postgres.
    await services.synapse?.stop();
    await Promise.all(Object.values(services).map((service) => service.stop()));
  };
  const failure = results.find((result) => result.status === "rejected");
  if (failure !== undefined) {
    await stop();
    throw failure.reason;
  }
  return {
    ...Object.assign({}, ...opened.map(({ facts }) => facts)),
    services,
    programs: Object.assign({}, ...opened.map(({ programs }) => programs ?? {})),
    get pids() {
      return Object.fromEntries(
        Object.values(services).flatMap(({ name, pid }) => (pid === undefined ? [] : [[name, pid]])),
      );
    },
    async restart(name) {
      const service = services[name];
      if (service === undefined) throw new Fault(`${name} was not started here`);
      await service.stop();
      await service.start();
    },
    stop,
  };
}

/** @typedef {ServersOptions & {env: NodeJS.ProcessEnv, logDir: string, durable: boolean}} Context */
/** @typedef {ReturnType<typeof openPorts>} Ports */
/** @typedef {import("./synapse/synapse-data.mjs").Place} Place */
/** @typedef {{facts: object, service?: Service, programs?: Servers["programs"], forSynapse?: Place}} Opened */

/**
 * @param {Context} context
 * @param {Ports} ports
 * @returns {Promise<Opened>}
 */
async function openPostgres(context, ports) {
  if (!context.env.DATABASE_URL) await context.installed;
  const chosen = await choosePostgres(context);
  if ("url" in chosen) return { facts: { databaseUrl: chosen.url } };
  const { service, url, forSynapse } = await startOnFreePort("postgres", context, ports, (port) =>
    createPostgres({ ...context, ...chosen, port }),
  );
  return {
    service,
    facts: { databaseUrl: url },
    programs: { postgresBin: chosen.binDir },
    ...(forSynapse ? { forSynapse } : {}),
  };
}

/**
 * @param {Context} context
 * @param {Ports} ports
 * @returns {Promise<Opened>}
 */
async function openRedis(context, ports) {
  const chosen = await chooseRedis(context);
  if ("url" in chosen) {
    await refuseEvictingRedis(chosen.url);
    return { facts: { redisUrl: chosen.url } };
  }
  const { service, url } = await startOnFreePort("redis", context, ports, async (port) =>
    createRedis({ ...context, ...chosen, port }),
  );
  await refuseEvictingRedis(url);
  return { service, facts: { redisUrl: url }, programs: { redisBinary: chosen.binary } };
}

/**
 * @param {Context & {findDatabase: () => Promise<Place | undefined>}} context
 * @param {Ports} ports
 * @returns {Promise<Opened>}
 */
async function openSynapse(context, ports) {
  const chosen = await chooseSynapse(context);
  const facts = (
    /** @type {import("./synapse/synapse.mjs").RunningSynapse} */ {
      url,
      serverName,
      asToken,
      registrationSecret,
      data,
    },
  ) => ({
    synapseUrl: url,
    synapseServerName: serverName,
    synapseData: data,
    asToken,
    registrationSecret,
  });
  if ("url" in chosen) return { facts: facts(chosen) };
  const made = await startOnFreePort("synapse", context, ports, (port) =>
    createSynapse({ ...context, program: chosen, port }),
  );
  return { service: made.service, facts: facts(made) };
}

/**
 * Starts a server on its kept port, or on another while something else holds that.
 * @template {{service: Service}} T
 * @param {string} name
 * @param {Context} context
 * @param {Ports} ports
 * @param {(port: number) => Promise<T>} create
 * @returns {Promise<T>}
 */
async function startOnFreePort(name, { log, onService }, ports, create) {
  for (let tries = 1; ; tries += 1) {
    const port = await findFreePort(ports.read(name));
    const made = await create(port);
    onService?.(made.service);
    log(`${name}: starting on port ${port}`);
    try {
      await withProgress(log, `${name}: starting`, made.service.start());
      ports.write(name, port);
      log(`${name}: ready`);
      return made;
    } catch (error) {
      // Another program took the port between the look and the start.
      if (tries === 3 || (await isPortFree(port))) throw error;
    }
  }
}

/** @param {string} path */
function openPorts(path) {
  /** @type {Record<string, number>} */
  const kept = readJson(path) ?? {};
  return {
    read: (/** @type {string} */ name) => kept[name],
    write(/** @type {string} */ name, /** @type {number} */ port) {
      kept[name] = port;
      writePrivateJson(path, kept);
    },
  };
}
