import { join } from "node:path";
import { buildImage, createImageEnv } from "../image/build-image.mjs";
import { Fault, runMain } from "../machine/fault.mjs";
import { writePrivateJson } from "../machine/files.mjs";
import { createProgress, withProgress } from "../machine/log.mjs";
import { checkoutDir, openPaths, removeFolder } from "../machine/paths.mjs";
import { findFreePort } from "../machine/ports.mjs";
import { runToEnd } from "../machine/processes.mjs";
import { ensureBuild } from "../packages/build.mjs";
import { enterRoot } from "../packages/debian-root.mjs";
import { ensureDependencies } from "../packages/install.mjs";
import { makeTemporaryFolder, startThrowAwayServers } from "../servers/throw-away.mjs";
import { ensureDemoTenant } from "../supervisor/demo-tenant.mjs";
import { createStackEnv, ensureSealKeys } from "../supervisor/stack-env.mjs";
import { createTier, tiers } from "../supervisor/tiers.mjs";

/** @typedef {import("../image/build-image.mjs").Image} Image */
/** @typedef {(line: string) => void} Log */

/**
 * `npm run image-check`: runs the Dockerfile's steps in Debian roots, without Docker, then the product's processes in
 * the last one with uWebSockets.js, and the demo against them. Postgres, Redis and Synapse are this machine's own.
 * Exits 0 only when the demo kept every message. Needs root, Debian and a network.
 */
async function main() {
  const paths = openPaths();
  const log = createProgress();
  await ensureDependencies({ ...paths, log });
  const dir = makeTemporaryFolder();
  try {
    const [image] = await Promise.all([
      buildImage({ dir, cacheDir: paths.cacheDir, log }),
      ensureBuild({ stackDir: paths.stackDir, log }),
    ]);
    const versions =
      'console.log("Node", process.version, "on glibc", process.report.getReport().header.glibcVersionRuntime)';
    log(`the image has ${(await runInImage(image, {}, ["-e", versions])).trim()}`);
    const servers = await startThrowAwayServers({ cacheDir: paths.cacheDir, log });
    try {
      return await runDemo({ image, servers, dir, log });
    } finally {
      await servers.stop();
    }
  } finally {
    removeFolder(dir);
  }
}

/**
 * Starts the image's processes and runs the demo against them; returns the demo's exit code.
 * @param {{image: Image, servers: import("../servers/servers.mjs").Servers, dir: string, log: Log}} given
 */
async function runDemo({ image, servers, dir, log }) {
  const ports = Object.fromEntries(
    await Promise.all(tiers.map(async ({ portVariable }) => [portVariable, await findFreePort()])),
  );
  const env = {
    ...createStackEnv({
      servers,
      mode: "appservice",
      ports,
      sealKeys: ensureSealKeys({ stateDir: dir, env: {} }),
    }),
    TRANSPORT: "uws",
  };
  const run = (/** @type {string[]} */ args) => runInImage(image, env, args);
  await withProgress(log, "migrate: running", run(["dist/migrations/main.js"]));
  const keys = await ensureDemoTenant({
    stateDir: dir,
    databaseUrl: servers.databaseUrl,
    ownDatabase: true,
    run,
  });
  const services = tiers.map((tier) =>
    createTier({
      tier,
      port: ports[tier.portVariable] ?? tier.port,
      env: { ...createImageEnv(image), ...env },
      logDir: join(dir, "logs"),
      command: (args) => inImage(image, ["node", ...args]),
    }),
  );
  try {
    await Promise.all(
      services.map(async (service) => {
        await withProgress(log, `${service.name}: starting in the image`, service.start());
        log(`${service.name}: ready in the image`);
      }),
    );
    writePrivateJson(join(dir, ".stack/demo.json"), {
      apiUrl: `http://127.0.0.1:${ports.API_PORT}`,
      socketUrl: `ws://127.0.0.1:${ports.REALTIME_PORT}/connection/websocket`,
      ...keys,
      pids: {},
    });
    log("demo: running");
    const { code, output } = await withProgress(
      log,
      "demo",
      runToEnd([process.execPath, join(checkoutDir, "dist/bench/demo.js")], {
        cwd: dir,
        env: { ...process.env, ...env },
      }),
    );
    process.stdout.write(output);
    log(
      code === 0 ? "image-check: passed" : `image-check: FAILED, the demo ended with ${code ?? "a signal"}`,
    );
    return code === 0 ? 0 : 1;
  } finally {
    for (const service of services) await service.stop();
  }
}

/**
 * Runs a program of the image to its end and returns its standard output.
 * @param {Image} image
 * @param {Record<string, string>} env
 * @param {string[]} args
 */
async function runInImage(image, env, args) {
  const { code, output, stdout } = await runToEnd(inImage(image, ["node", ...args]), {
    env: { ...createImageEnv(image), ...env },
    limitMs: 120_000,
  });
  if (code === 0) return stdout;
  throw new Fault(
    `node ${args.join(" ")} failed in the image (${code ?? "ended by a signal"}):\n${output.trim()}`,
  );
}

/** @param {Image} image @param {string[]} command */
function inImage({ root, cwd, user }, command) {
  return enterRoot({ root, cwd, user, command });
}

await runMain(main);
