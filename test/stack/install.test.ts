import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, expect, test } from "@jest/globals";
import { removeFolder } from "../../stack/machine/paths.mjs";
import { makeFakeCheckout } from "./fake-checkout.ts";

const limitMs = 60_000;

/** A checkout with one package of its own, so that `npm ci` needs no registry. */
function makeLocalCheckout({ isComplete }: { isComplete: boolean }): string {
  const checkout = makeFakeCheckout();
  rmSync(join(checkout, "node_modules", ".package-lock.json"));
  mkdirSync(join(checkout, "local"));
  writeFileSync(join(checkout, "local", "package.json"), '{ "name": "local", "version": "1.0.0" }');
  writeFileSync(
    join(checkout, "package.json"),
    '{ "name": "fake", "version": "1.0.0", "private": true, "dependencies": { "local": "file:local" } }',
  );
  const root = { name: "fake", version: "1.0.0" };
  const packages = isComplete
    ? {
        "": { ...root, dependencies: { local: "file:local" } },
        local: { version: "1.0.0" },
        "node_modules/local": { resolved: "local", link: true },
      }
    : { "": root };
  writeFileSync(
    join(checkout, "package-lock.json"),
    JSON.stringify({ ...root, lockfileVersion: 3, requires: true, packages }),
  );
  return checkout;
}

/** Installs in a checkout as `up` does; returns what was printed. */
async function install(checkout: string, cacheDir: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const given = JSON.stringify({ cacheDir, stackDir: join(checkout, ".stack") });
  const script = `
    const { ensureDependencies } = await import("./stack/packages/install.mjs");
    await ensureDependencies({ ...${given}, log: console.log });`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: checkout,
    env: { ...process.env, ...env },
  });
  return stdout;
}

const isInstalled = (checkout: string): boolean =>
  existsSync(join(checkout, "node_modules", "local", "package.json"));

let folders: string[] = [];
const makeFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "omc-cache-"));
  folders.push(folder);
  return folder;
};
const makeCheckout = ({ isComplete = true } = {}): string => {
  const checkout = makeLocalCheckout({ isComplete });
  folders.push(checkout);
  return checkout;
};
afterEach(() => {
  for (const folder of folders) removeFolder(folder);
  folders = [];
});

test.each(["silent", "error", "notice"])(
  "an incomplete lockfile is refused with npm's reason, under npm's log level %s too",
  async (level) => {
    const checkout = makeCheckout({ isComplete: false });
    const installed = install(checkout, makeFolder(), { npm_config_loglevel: level });
    await expect(installed).rejects.toThrow(/npm failed:[^]*Missing: local@/);
    expect(isInstalled(checkout)).toBe(false);
  },
  limitMs,
);

/** Every call of npm fails. */
const withoutNpm = { npm_execpath: "/nowhere/npm.js" };

test(
  "the next checkout with the same lockfile takes the packages of the first, without npm, and they are its own",
  async () => {
    const [cacheDir, first, second] = [makeFolder(), makeCheckout(), makeCheckout()];
    await install(first, cacheDir);
    expect(await install(second, cacheDir, withoutNpm)).toContain("npm: packages copied from");
    expect(isInstalled(second)).toBe(true);
    expect(await install(second, cacheDir, withoutNpm)).toBe("");

    const own = (checkout: string) => join(checkout, "node_modules", ".package-lock.json");
    writeFileSync(own(second), "changed");
    expect(readFileSync(own(first), "utf8")).not.toBe("changed");
  },
  limitMs,
);

test(
  "another lockfile is installed by npm, and no more than two installations are kept",
  async () => {
    const cacheDir = makeFolder();
    for (const version of ["1.0.1", "1.0.2", "1.0.3"]) {
      const checkout = makeCheckout();
      const lockfile = join(checkout, "package-lock.json");
      writeFileSync(lockfile, readFileSync(lockfile, "utf8").replaceAll("1.0.0", version));
      expect(await install(checkout, cacheDir)).toContain("npm: installed");
    }
    expect(readdirSync(cacheDir).filter((name) => name.startsWith("packages-"))).toHaveLength(2);
  },
  limitMs,
);

test(
  "a copy that was not finished is not taken",
  async () => {
    const [cacheDir, first, second] = [makeFolder(), makeCheckout(), makeCheckout()];
    await install(first, cacheDir);
    const [kept = ""] = readdirSync(cacheDir).filter((name) => name.startsWith("packages-"));
    rmSync(join(cacheDir, kept, "complete"));
    expect(await install(second, cacheDir)).toContain("npm: installed");
    expect(isInstalled(second)).toBe(true);
  },
  limitMs,
);

test(
  "packages that cannot be cached for the next checkout are installed, and the log has the reason",
  async () => {
    const file = join(makeFolder(), "file");
    writeFileSync(file, "");
    const checkout = makeCheckout();
    expect(await install(checkout, join(file, "cache"))).toContain("npm: the packages cannot be kept in");
    expect(isInstalled(checkout)).toBe(true);
  },
  limitMs,
);
