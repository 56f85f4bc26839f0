import { execFile } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "@jest/globals";
import { removeFolder } from "../../stack/places.mjs";
import { makeFakeCheckout } from "./fake-checkout.ts";

const limitMs = 60_000;

/** A checkout whose lockfile lacks a package: `npm ci` refuses it, `npm install` needs no registry for it. */
function makeIncompleteCheckout(): string {
  const checkout = makeFakeCheckout();
  rmSync(join(checkout, "node_modules", ".package-lock.json"));
  mkdirSync(join(checkout, "local"));
  writeFileSync(join(checkout, "local", "package.json"), '{ "name": "local", "version": "1.0.0" }');
  writeFileSync(
    join(checkout, "package.json"),
    '{ "name": "fake", "version": "1.0.0", "private": true, "dependencies": { "local": "file:local" } }',
  );
  const root = { name: "fake", version: "1.0.0" };
  writeFileSync(
    join(checkout, "package-lock.json"),
    JSON.stringify({ ...root, lockfileVersion: 3, requires: true, packages: { "": root } }),
  );
  return checkout;
}

test.each(["silent", "error", "notice"])(
  "what the lockfile lacks is installed where npm was started with the log level %s",
  async (level) => {
    const checkout = makeIncompleteCheckout();
    try {
      const script = `
        const { ensureDependencies } = await import("./stack/install.mjs");
        await ensureDependencies({ stackDir: ${JSON.stringify(join(checkout, ".stack"))}, log: console.log });`;
      const env = { ...process.env, npm_config_loglevel: level };
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ["--input-type=module", "--eval", script],
        {
          cwd: checkout,
          env,
        },
      );
      expect(stdout).toContain("npm: installed");
      expect(existsSync(join(checkout, "node_modules", "local", "package.json"))).toBe(true);
    } finally {
      removeFolder(checkout);
    }
  },
  limitMs,
);
