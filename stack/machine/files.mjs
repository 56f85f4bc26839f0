import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Reads a JSON file; a missing file is undefined.
 * @param {string} path
 * @returns {any}
 */
export function readJson(path) {
  let text;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === "ENOENT") return undefined;
    throw error;
  }
  return JSON.parse(text);
}

/**
 * Writes a file that only its owner reads, whole or not at all.
 * @param {string} path
 * @param {string} text
 */
export function writePrivate(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  writeFileSync(temporary, text, { mode: 0o600 });
  renameSync(temporary, path);
}

/**
 * @param {string} path
 * @param {unknown} value
 */
export function writePrivateJson(path, value) {
  writePrivate(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** A random text for passwords and tokens that needs no escaping in a URL or a configuration file. */
export function createSecret() {
  return randomBytes(24).toString("hex");
}
