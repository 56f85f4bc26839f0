import { createHash } from "node:crypto";
import { join } from "node:path";
import { Fault } from "../machine/fault.mjs";
import { readJson, writePrivateJson } from "../machine/files.mjs";
import { checkoutDir } from "../machine/paths.mjs";
import { runToEnd } from "../machine/processes.mjs";

const slug = "demo";
const roles = /** @type {const} */ (["server", "operator", "viewer"]);

/** @typedef {{serverKey: string, operatorKey: string, viewerKey: string}} DemoKeys */

/**
 * Makes the tenant `demo` and its three keys, once for each database: a key is shown only when it is made.
 * @param {{stateDir: string, databaseUrl: string, ownDatabase: boolean, run: (args: string[]) => Promise<string>}} given
 *   `run` runs a program of the product and returns its standard output
 * @returns {Promise<DemoKeys>}
 */
export async function ensureDemoTenant({ stateDir, databaseUrl, ownDatabase, run }) {
  await run(["dist/workers/admin.js", "tenant", "create", slug, "--json"]);
  const path = join(stateDir, "demo-keys.json");
  const database = ownDatabase ? "own" : createHash("sha256").update(databaseUrl).digest("hex");
  const kept = readJson(path);
  if (kept?.database === database) return kept.keys;
  const made = [];
  for (const role of roles) {
    const output = await run([
      "dist/workers/admin.js",
      "key",
      "create",
      "--tenant",
      slug,
      "--role",
      role,
      "--json",
    ]);
    made.push([`${role}Key`, readKey(output)]);
  }
  /** @type {DemoKeys} */
  const keys = Object.fromEntries(made);
  writePrivateJson(path, { database, keys });
  return keys;
}

/**
 * Runs one of the product's own programs to its end and returns its standard output.
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 */
export async function runProgram(args, env) {
  const { code, output, stdout } = await runToEnd([process.execPath, ...args], {
    cwd: checkoutDir,
    env,
    limitMs: 120_000,
  });
  if (code === 0) return stdout;
  throw new Fault(
    `node ${args.join(" ")} failed (${code ?? "ended by a signal"}):\n${output.trim().split("\n").slice(-20).join("\n")}`,
  );
}

/** @param {string} output */
function readKey(output) {
  const line =
    output
      .trim()
      .split("\n")
      .findLast((candidate) => candidate.startsWith("{")) ?? "{}";
  const key = JSON.parse(line).key;
  if (typeof key === "string") return key;
  throw new Fault("the admin program printed no key");
}
