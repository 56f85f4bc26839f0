import { join } from "node:path";
import { ensureBuild } from "../packages/build.mjs";
import { ensureDemoTenant, runProgram } from "./demo-tenant.mjs";
import { writePrivateJson } from "../machine/files.mjs";
import { ensureDependencies } from "../packages/install.mjs";
import { withProgress } from "../machine/log.mjs";
import { refuseTakenPorts } from "../machine/ports.mjs";
import { removeData } from "../servers/remove-data.mjs";
import { startServers } from "../servers/servers.mjs";
import { chooseBindAddress, chooseMatrixMode, createStackEnv, ensureSealKeys, hostOf } from "./stack-env.mjs";
import { createTier, readTierPorts, tiers } from "./tiers.mjs";

/**
 * @typedef {object} StackOptions
 * @property {{cacheDir: string, stateDir: string, stackDir: string}} paths
 * @property {boolean} fresh
 * @property {(line: string) => void} log
 * @property {ReturnType<typeof import("./process-registry.mjs").createProcessRegistry>} registry
 * @property {(line: string) => void} announce prints the ready line before the record has the status ready
 */

/**
 * Starts the whole stack of this checkout, each process in the registry, and keeps it running.
 * @param {StackOptions} options
 */
export async function startStack({ paths, fresh, log, registry, announce }) {
  const { stateDir, stackDir } = paths;
  const startedAtMs = Date.now();
  const ports = readTierPorts(process.env);
  const mode = chooseMatrixMode(process.env);
  const bindAddress = chooseBindAddress(process.env);
  await refuseTakenPorts(ports, bindAddress);
  if (fresh) removeData({ paths, env: process.env, log });
  const { servers, env } = await openServersAndBuild({
    paths,
    mode,
    ports,
    log,
    adopt: (service) => registry.adopt(service),
  });
  const run = (/** @type {string[]} */ args) => runProgram(args, env);
  await withProgress(log, "migrate: running", run(["dist/migrations/main.js"]));
  log("migrate: done");
  const ownDatabase = servers.services.postgres !== undefined;
  const keys = await ensureDemoTenant({ stateDir, databaseUrl: servers.databaseUrl, ownDatabase, run });
  await startTiers({
    env,
    ports,
    host: hostOf(bindAddress),
    logDir: join(stackDir, "logs"),
    log,
    adopt: (service) => registry.adopt(service),
  });
  const apiUrl = `http://${hostOf(bindAddress)}:${ports.API_PORT}`;
  const socketUrl = `ws://${hostOf(bindAddress)}:${ports.REALTIME_PORT}/connection/websocket`;
  log(`keys: ${join(stackDir, "demo.json")}, logs: ${join(stackDir, "logs")}`);
  const seconds = Math.round((Date.now() - startedAtMs) / 1_000);
  const readyLine = `ready api=${apiUrl} socket=${socketUrl} seconds=${seconds}`;
  registry.markReady({
    demo: { apiUrl, socketUrl, ...keys },
    readyLine,
    announce: () => announce(readyLine),
  });
}

/**
 * Servers, packages and build side by side: each takes long on a fresh machine.
 * @param {{paths: StackOptions["paths"], mode: "appservice" | "admin", ports: Record<string, number>, log: (line: string) => void, adopt: (service: import("./service.mjs").Service) => void}} given
 */
async function openServersAndBuild({ paths, mode, ports, log, adopt }) {
  const { stackDir, stateDir } = paths;
  const installed = ensureDependencies({ cacheDir: paths.cacheDir, stackDir, log });
  const built = installed.then(() => ensureBuild({ stackDir, log }));
  const started = startServers({
    ...paths,
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

/** @param {{env: NodeJS.ProcessEnv, ports: Record<string, number>, host: string, logDir: string, log: (line: string) => void, adopt: (service: import("./service.mjs").Service) => void}} given */
async function startTiers({ env, ports, host, logDir, log, adopt }) {
  const services = tiers.map((tier) =>
    createTier({ tier, env, port: ports[tier.portVariable] ?? tier.port, host, logDir }),
  );
  for (const service of services) adopt(service);
  await Promise.all(
    services.map(async (service) => {
      await withProgress(log, `${service.name}: starting`, service.start());
      log(`${service.name}: ready`);
    }),
  );
}
