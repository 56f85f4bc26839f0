import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Fault, runMain } from "../machine/fault.mjs";
import { ensureDependencies, npmCommand } from "../packages/install.mjs";
import { createProgress, withProgress } from "../machine/log.mjs";
import { checkoutDir, openPaths } from "../machine/paths.mjs";
import { runToEnd } from "../machine/processes.mjs";

/** Fewer modules than this mean that the import checker did not see the code. */
const minModules = 50;

/**
 * A check returns its faults as text, empty when it passes.
 * @typedef {{name: string, run: () => Promise<string>}} Check
 */

/** @type {Check[]} */
const checks = [
  { name: "format", run: () => runTool("prettier/bin/prettier.cjs", ["--check", "."]) },
  { name: "types", run: () => runTool("typescript/bin/tsc", ["--noEmit"]) },
  { name: "lint", run: () => runTool("eslint/bin/eslint.js", ["--max-warnings=0", "."]) },
  { name: "imports", run: checkImports },
  { name: "unused", run: () => runTool("knip/bin/knip.js", ["--no-progress"]) },
  { name: "lockfile", run: checkLockfile },
];

/** `npm run check [-- names]`: runs the checks side by side and prints how many passed. */
async function main() {
  const names = process.argv.slice(2);
  const unknown = names.find((name) => checks.every((check) => check.name !== name));
  if (unknown !== undefined)
    throw new Fault(`no check "${unknown}"`, {
      exitCode: 2,
      advice: `name one of ${checks.map(({ name }) => name).join(", ")}`,
    });
  const log = createProgress();
  await ensureDependencies({ ...openPaths(), log });
  const wanted = checks.filter(({ name }) => names.length === 0 || names.includes(name));
  const outcomes = await Promise.all(wanted.map((check) => runCheck(check, log)));
  const failed = outcomes.filter((isFine) => !isFine).length;
  process.stdout.write(`Checks: ${outcomes.length - failed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

/**
 * @param {Check} check
 * @param {(line: string) => void} log
 */
async function runCheck({ name, run }, log) {
  const fault = await withProgress(log, name, run(), { everyMs: 30_000 });
  log(fault === "" ? `${name}: passed` : `${name}: FAILED\n${fault}`);
  return fault === "";
}

/**
 * @param {string} program below node_modules
 * @param {string[]} args
 */
async function runTool(program, args) {
  const { code, output } = await runProgram(program, args);
  return code === 0 ? "" : output.trim() || `ended with ${code ?? "a signal"}`;
}

/** @param {string} program @param {string[]} args */
function runProgram(program, args) {
  return runToEnd([process.execPath, join(checkoutDir, "node_modules", program), ...args], {
    cwd: checkoutDir,
  });
}

async function checkImports() {
  const folders = ["api", "workers", "realtime", "shared", "migrations", "bench", "deploy", "stack", "test"];
  const { code, output } = await runProgram("dependency-cruiser/bin/dependency-cruise.mjs", [
    "--config",
    ".dependency-cruiser.cjs",
    ...folders,
  ]);
  if (code !== 0) return output.trim();
  const modules = Number(/(\d+) modules/.exec(output)?.[1] ?? 0);
  return modules > minModules ? "" : `only ${modules} modules were seen:\n${output.trim()}`;
}

/**
 * Each package is pinned by its content and comes from the registry that the person uses. `npm ci` accepts the
 * lockfile: it holds every package that package.json needs, those for other systems too.
 */
async function checkLockfile() {
  const { packages } = JSON.parse(readFileSync(join(checkoutDir, "package-lock.json"), "utf8"));
  const faults = Object.entries(packages).flatMap(([path, { resolved, integrity }]) => [
    ...(path !== "" && integrity === undefined ? [`${path} has no integrity`] : []),
    ...(resolved === undefined ? [] : [`${path} names where it was downloaded`]),
  ]);
  const { code, output } = await runToEnd(
    [...npmCommand(), "ci", "--dry-run", "--no-audit", "--loglevel=error"],
    {
      cwd: checkoutDir,
    },
  );
  return [...faults, ...(code === 0 ? [] : [output.trim()])].join("\n");
}

await runMain(main);
