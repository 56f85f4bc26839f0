import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";

/**
 * Prints progress lines with the seconds since the start.
 * @param {{write?: (text: string) => void}} [options]
 * @returns {(line: string) => void}
 */
export function createProgress({ write = (text) => process.stdout.write(text) } = {}) {
  const startedAtMs = Date.now();
  return (line) =>
    write(`[${String(Math.round((Date.now() - startedAtMs) / 1_000)).padStart(3)} s] ${line}\n`);
}

/**
 * Awaits work and logs every few seconds that it still runs.
 * @template T
 * @param {(line: string) => void} log
 * @param {string} label
 * @param {Promise<T>} work
 * @param {{everyMs?: number, detail?: () => string}} [options]
 * @returns {Promise<T>}
 */
export async function withProgress(log, label, work, { everyMs = 4_000, detail = () => "" } = {}) {
  const startedAtMs = Date.now();
  const timer = setInterval(() => {
    const last = detail();
    log(`${label} … ${Math.round((Date.now() - startedAtMs) / 1_000)} s${last ? ` (${last})` : ""}`);
  }, everyMs);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

/**
 * Opens a log file. At its limit it is renamed to `<path>.1`, so there are at most two files of that size.
 * @param {string} path
 * @param {{maxBytes?: number}} [options]
 */
export function openLogFile(path, { maxBytes = 10 * 1_024 * 1_024 } = {}) {
  mkdirSync(dirname(path), { recursive: true });
  let file = openSync(path, "a", 0o600);
  let bytes = fstatSync(file).size;
  return {
    path,
    /** @param {Buffer | string} chunk */
    write(chunk) {
      if (bytes > maxBytes) {
        closeSync(file);
        renameSync(path, `${path}.1`);
        file = openSync(path, "a", 0o600);
        bytes = 0;
      }
      bytes += writeSync(file, typeof chunk === "string" ? Buffer.from(chunk) : chunk);
    },
    close() {
      closeSync(file);
    },
  };
}

/**
 * @param {string} path
 * @param {number} lines
 */
export function readLastLines(path, lines) {
  if (!existsSync(path)) return "";
  return readFileSync(path, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
}
