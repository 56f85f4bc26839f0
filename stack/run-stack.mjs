import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ensureBuild } from "./build.mjs";
import { ensureDemoTenant, runProgram } from "./demo-tenant.mjs";
import { Fault } from "./fault.mjs";
import { writePrivateJson } from "./files.mjs";
import { ensureDependencies } from "./install.mjs";
import { withProgress } from "./log.mjs";
import { refuseTakenPorts } from "./ports.mjs";
import { recordProcess } from "./processes.mjs";
import { writeRun } from "./run-record.mjs";
import { startServers } from "./servers.mjs";
import { chooseMatrixMode, createStackEnv, ensureSealKeys } from "./stack-env.mjs";
import { supervise } from "./supervise.mjs";
import { createTier, readTierPorts, tiers } from "./tiers.mjs";

/**
 * @typedef {object} StackOptions
 * @property {{cacheDir: string, stateDir: string, stackDir: string}} places
 * @property {boolean} fresh
 * @property {(line: string) => void} log
 * @property {(line: string) => void} announce says the ready line, before the record says ready
 */

/**
 * The whole stack of this checkout: `start` once, then `stop` at any time, also while it starts.
 * @param {StackOptions} options
 */
export function createStack({ places, fresh, log, announce }) {
  const { stackDir } = places;
  const startedAtMs = Date.now();
  /** @type {{service: import("./service.mjs").Service, stop: () => Promise<void>}[]} in the order of their start */
  const running = [];
  /** @type {Record<string, unknown> | undefined} */
  let demo;
  /** @type {string | undefined} */
  let readyLine;
  let stopping = false;
  const readStatus = () => (stopping ? "stopping" : readyLine === undefined ? "starting" : "ready");

  const pids = () =>
    Object.fromEntries([
      ["supervisor", process.pid],
      ...running.flatMap(({ service }) => (service.pid ? [[service.name, service.pid]] : [])),
    ]);
  const publish = () => {
    const children = running.flatMap(({ service }) => {
      const record = service.pid === undefined ? undefined : recordProcess(service.pid, service.stopSignal);
      return record === undefined ? [] : [[service.name, record]];
    });
    const supervisor = recordProcess(process.pid);
    if (supervisor === undefined) throw new Fault("this process cannot see itself in /proc");
    writeRun(stackDir, {
      supervisor,
      status: readStatus(),
      ...(readyLine ? { readyLine } : {}),
      children: Object.fromEntries(children),
    });
    if (demo !== undefined) writePrivateJson(join(stackDir, "demo.json"), { ...demo, pids: pids() });
  };
  /** Takes charge of a service before it starts. @param {import("./service.mjs").Service} service */
  const adopt = (service) => {
    if (stopping) throw new Fault("stopped while it started");
    const at = running.findIndex((entry) => entry.service.name === service.name);
    if (at !== -1) running.splice(at, 1);
    running.push({ service, stop: service.stop });
    service.onStart(publish);
  };
  const superviseAll = () => {
    for (const entry of running) entry.stop = supervise(entry.service, { log, onEnd: publish }).stop;
  };

  const start = async () => {
    const ports = readTierPorts(process.env);
    const mode = chooseMatrixMode(process.env);
    await refuseTakenPorts(ports);
    if (fresh) removeData(places, log);
    const { servers, env } = await openServersAndBuild({ places, mode, ports, log, adopt });
    await withProgress(log, "migrate: running", runProgram(["dist/migrations/main.js"], env));
    log("migrate: done");
    const keys = await ensureDemoTenant({
      stateDir: places.stateDir,
      env,
      ownDatabase: servers.services.postgres !== undefined,
    });
    await startTiers({ env, ports, logDir: join(stackDir, "logs"), log, adopt });
    const [apiUrl, socketUrl] = [
      `http://127.0.0.1:${ports.API_PORT}`,
      `ws://127.0.0.1:${ports.REALTIME_PORT}/connection/websocket`,
    ];
    demo = { apiUrl, socketUrl, ...keys };
    if (stopping) return;
    superviseAll();
    log(`keys: ${join(stackDir, "demo.json")}, logs: ${join(stackDir, "logs")}`);
    const line = `ready api=${apiUrl} socket=${socketUrl} seconds=${Math.round((Date.now() - startedAtMs) / 1_000)}`;
    announce(line);
    readyLine = line;
    publish();
  };

  const stop = async () => {
    stopping = true;
    publish();
    for (const { service, stop: stopOne } of [...running].reverse()) {
      log(`${service.name}: stopping`);
      await stopOne();
    }
    if (demo !== undefined) writePrivateJson(join(stackDir, "demo.json"), { ...demo, pids: {} });
  };

  return { publish, start, stop };
}

/**
 * Servers, packages and build side by side: each takes long on a fresh machine.
 * @param {{places: StackOptions["places"], mode: "appservice" | "admin", ports: Record<string, number>, log: (line: string) => void, adopt: (service: import("./service.mjs").Service) => void}} given
 */
async function openServersAndBuild({ places, mode, ports, log, adopt }) {
  const { stackDir, stateDir } = places;
  const installed = ensureDependencies({ stackDir, log });
  const built = installed.then(() => ensureBuild({ stackDir, log }));
  const started = startServers({
    ...places,
    logDir: join(stackDir, "logs"),
    mode,
    log,
    installed,
    onService: adopt,
  });
  const [servers] = await Promise.all([started, built]);
  const stackEnv = createStackEnv({
    servers,
    mode,
    ports,
    sealKeys: ensureSealKeys({ stateDir, env: process.env }),
  });
  writePrivateJson(join(stackDir, "env.json"), stackEnv);
  return { servers, env: { ...process.env, ...stackEnv } };
}

/** @param {{env: NodeJS.ProcessEnv, ports: Record<string, number>, logDir: string, log: (line: string) => void, adopt: (service: import("./service.mjs").Service) => void}} given */
async function startTiers({ env, ports, logDir, log, adopt }) {
  const services = tiers.map((tier) =>
    createTier({ tier, env, port: ports[tier.portVariable] ?? tier.port, logDir }),
  );
  for (const service of services) adopt(service);
  await Promise.all(
    services.map(async (service) => {
      await withProgress(log, `${service.name}: starting`, service.start());
      log(`${service.name}: ready`);
    }),
  );
}

/**
 * @param {StackOptions["places"]} places
 * @param {(line: string) => void} log
 */
function removeData({ stateDir, stackDir }, log) {
  log(`fresh: removing the data in ${stateDir}`);
  const own = readdirSync(stateDir).map((name) => join(stateDir, name));
  for (const path of [...own, join(stackDir, "demo.json"), join(stackDir, "env.json")])
    rmSync(path, { recursive: true, force: true });
  if (process.env.DATABASE_URL) log("fresh: the database of DATABASE_URL is not ours and stays as it is");
}
