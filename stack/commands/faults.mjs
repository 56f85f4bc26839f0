import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { ensureBuild } from "../packages/build.mjs";
import { Fault, runMain } from "../machine/fault.mjs";
import { ensureDependencies } from "../packages/install.mjs";
import { createProgress } from "../machine/log.mjs";
import { checkoutDir, openPaths } from "../machine/paths.mjs";
import { startThrowAwayServers } from "../servers/throw-away.mjs";

/**
 * `npm run faults -- --minutes N [--seed S] [--rate R]`: real processes on servers of their own, a fault every five
 * seconds, then a check. Exits 0 when nothing was lost, doubled or reordered, 1 otherwise, 2 for wrong use.
 */
async function main() {
  const { minutes, seed, rate } = readOptions();
  const { stackDir, cacheDir } = openPaths();
  const log = createProgress();
  const installed = ensureDependencies({ cacheDir, stackDir, log });
  // Durable: an acknowledged commit must survive a kill of Postgres.
  const starting = startThrowAwayServers({
    cacheDir,
    log,
    installed,
    only: ["postgres", "redis"],
    durable: true,
  });
  const [servers, built] = await Promise.allSettled([
    starting,
    // TEST_DIST names an existing build.
    installed.then(() => (process.env.TEST_DIST ? undefined : ensureBuild({ stackDir, log }))),
  ]);
  if (servers.status === "rejected") throw servers.reason;
  const stopped = stopOnSignal(servers.value.stop);
  try {
    if (built.status === "rejected") throw built.reason;
    const distDir = join(checkoutDir, process.env.TEST_DIST ?? "dist");
    const { runSoak } = await import(pathToFileURL(join(distDir, "test/faults/environment/soak.js")).href);
    const isKept = await runSoak({
      servers: servers.value,
      distDir,
      logDir: join(stackDir, "faults"),
      minutes,
      seed,
      messagesPerS: rate,
      write: (/** @type {string} */ line) => process.stdout.write(`${line}\n`),
    });
    return isKept ? 0 : 1;
  } finally {
    stopped.forget();
    await servers.value.stop();
  }
}

/** @param {() => Promise<void>} stop */
function stopOnSignal(stop) {
  const end = () => void stop().finally(() => process.exit(1));
  const names = /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]);
  for (const name of names) process.once(name, end);
  return { forget: () => names.forEach((name) => process.off(name, end)) };
}

function readOptions() {
  const advice = "npm run faults -- --minutes 10 [--seed 1] [--rate 30]";
  const read = (/** @type {string | undefined} */ text, /** @type {number} */ otherwise) => {
    const value = text === undefined ? otherwise : Number(text);
    if (!(value > 0)) throw new Fault(`${text} is not a number above 0`, { exitCode: 2, advice });
    return value;
  };
  try {
    const { values } = parseArgs({
      options: { minutes: { type: "string" }, seed: { type: "string" }, rate: { type: "string" } },
    });
    return {
      minutes: read(values.minutes, 1),
      seed: read(values.seed, 1 + Math.floor(Math.random() * 1_000_000)),
      rate: read(values.rate, 30),
    };
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault(/** @type {Error} */ (error).message, { exitCode: 2, advice });
  }
}

await runMain(main);
