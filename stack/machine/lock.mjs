import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isRecordAlive, recordProcess } from "./processes.mjs";

/**
 * Runs work while no other process runs work under the same lock file. The lock of a process that died is taken over.
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} work
 * @param {{onWait?: () => void}} [options]
 * @returns {Promise<T>}
 */
export async function withLock(path, work, { onWait } = {}) {
  mkdirSync(dirname(path), { recursive: true });
  let waited = false;
  while (!tryLock(path)) {
    if (!waited) onWait?.();
    waited = true;
    await sleep(100);
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

/** @param {string} path */
function tryLock(path) {
  const prepared = `${path}.${process.pid}`;
  try {
    // The file is complete before it is linked, so that no process reads half a record.
    const file = openSync(prepared, "w", 0o600);
    writeSync(file, JSON.stringify(recordProcess(process.pid)));
    closeSync(file);
    linkSync(prepared, path);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EEXIST") throw error;
    removeIfDead(path);
    return false;
  } finally {
    rmSync(prepared, { force: true });
  }
}

/** @param {string} path */
function removeIfDead(path) {
  const owner = readText(path);
  if (owner === undefined || isRecordAlive(JSON.parse(owner))) return;
  const taken = `${path}.${process.pid}.dead`;
  try {
    renameSync(path, taken);
    // Another process may have taken the lock between the two lines above. Then its lock is restored.
    if (readText(taken) !== owner) linkSync(taken, path);
  } catch (error) {
    if (!["ENOENT", "EEXIST"].includes(/** @type {NodeJS.ErrnoException} */ (error).code ?? "")) throw error;
  } finally {
    rmSync(taken, { force: true });
  }
}

/** @param {string} path */
function readText(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The owner has finished and removed it.
    return undefined;
  }
}
