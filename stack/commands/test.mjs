import { spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensureBuild } from "../packages/build.mjs";
import { describeFailure, Fault, runMain } from "../machine/fault.mjs";
import { ensureDependencies } from "../packages/install.mjs";
import { createProgress } from "../machine/log.mjs";
import { ensureNioPython } from "../packages/nio.mjs";
import { ensureSchemathesisPython } from "../packages/schemathesis.mjs";
import { checkoutDir, openPaths } from "../machine/paths.mjs";
import { startThrowAwayServers, withoutServers } from "../servers/throw-away.mjs";

/** `npm test [-- jest's arguments]`: runs the tests on servers of their own and exits with jest's code. */
async function main() {
  const paths = openPaths();
  const log = createProgress();
  /** @type {import("../supervisor/service.mjs").Service[]} */
  const services = [];
  const asked = awaitSignal();
  const prepared = prepare({ paths, log, onService: (service) => services.push(service) });
  const early = await Promise.race([prepared, asked]);
  if (typeof early === "string") {
    for (const service of services) await service.stop();
    await Promise.race([prepared.catch(() => undefined), sleep(2_000)]);
    process.stderr.write(`${describeFailure(new Fault(`stopped by ${early}`))}\n`);
    process.exit(1); // Downloads that were interrupted may still hold this process.
  }
  const { servers, pythons } = early;
  try {
    return await runJest(process.argv.slice(2), createTestEnv(servers, pythons), asked);
  } finally {
    await servers.stop();
  }
}

/**
 * Installs, builds and starts servers side by side. When one part fails, the servers are stopped.
 * @param {{paths: {cacheDir: string, stackDir: string}, log: (line: string) => void, onService: (service: import("../supervisor/service.mjs").Service) => void}} given
 */
async function prepare({ paths, log, onService }) {
  const { cacheDir, stackDir } = paths;
  const installed = ensureDependencies({ cacheDir, stackDir, log });
  const starting = startThrowAwayServers({ cacheDir, log, installed, onService });
  const [servers, pythons, built] = await Promise.allSettled([
    starting,
    ensurePythons({ cacheDir, log }),
    installed.then(() => ensureBuild({ stackDir, log })),
  ]);
  if (servers.status === "fulfilled" && pythons.status === "fulfilled" && built.status === "fulfilled") {
    return { servers: servers.value, pythons: pythons.value };
  }
  if (servers.status === "fulfilled") await servers.value.stop();
  throw [servers, pythons, built].find((result) => result.status === "rejected")?.reason;
}

/**
 * The programs in Python that the tests use.
 * @param {{cacheDir: string, log: (line: string) => void}} given
 */
async function ensurePythons(given) {
  const [nio, schemathesis] = await Promise.all([ensureNioPython(given), ensureSchemathesisPython(given)]);
  return { nio, schemathesis };
}

/**
 * @param {Awaited<ReturnType<typeof startThrowAwayServers>>} servers
 * @param {Awaited<ReturnType<typeof ensurePythons>>} pythons
 * @returns {NodeJS.ProcessEnv}
 */
function createTestEnv(servers, pythons) {
  return {
    ...withoutServers(process.env),
    TEST_DATABASE_URL: servers.databaseUrl,
    TEST_REDIS_URL: servers.redisUrl,
    TEST_SYNAPSE_URL: servers.synapseUrl,
    TEST_SYNAPSE_SERVER_NAME: servers.synapseServerName,
    TEST_SYNAPSE_AS_TOKEN: servers.asToken,
    TEST_SYNAPSE_REGISTRATION_SECRET: servers.registrationSecret,
    TEST_NIO_PYTHON: pythons.nio,
    TEST_SCHEMATHESIS_PYTHON: pythons.schemathesis,
    TEST_REDIS_BINARY: servers.programs.redisBinary,
    TEST_POSTGRES_BIN: servers.programs.postgresBin,
  };
}

/**
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @param {Promise<NodeJS.Signals>} asked a signal is passed on, and jest is waited for
 * @returns {Promise<number>}
 */
function runJest(args, env, asked) {
  return new Promise((resolve, reject) => {
    const jest = join(checkoutDir, "node_modules", "jest", "bin", "jest.js");
    const child = spawn(process.execPath, ["--experimental-vm-modules", "--no-warnings", jest, ...args], {
      cwd: checkoutDir,
      env,
      stdio: "inherit",
    });
    void asked.then((name) => child.kill(name));
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}

/** @returns {Promise<NodeJS.Signals>} */
function awaitSignal() {
  return new Promise((resolve) => {
    for (const name of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]))
      process.on(name, () => resolve(name));
  });
}

await runMain(main);
