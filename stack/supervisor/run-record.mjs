import { rmSync } from "node:fs";
import { join } from "node:path";
import { readJson, writePrivateJson } from "../machine/files.mjs";
import { isRecordAlive, stopRecorded } from "../machine/processes.mjs";

/**
 * This checkout's run, in `.stack/run.json`: its supervisor and the processes that it started.
 * @typedef {object} RunRecord
 * @property {import("../machine/processes.mjs").ProcessRecord} supervisor
 * @property {"starting" | "ready" | "stopping"} status
 * @property {string} [readyLine]
 * @property {Record<string, import("../machine/processes.mjs").ProcessRecord>} children
 */

/** @param {string} stackDir */
const recordPath = (stackDir) => join(stackDir, "run.json");

/**
 * @param {string} stackDir
 * @returns {RunRecord | undefined}
 */
export function readRun(stackDir) {
  return readJson(recordPath(stackDir));
}

/**
 * The record, when its supervisor runs.
 * @param {string} stackDir
 */
export function readLiveRun(stackDir) {
  const run = readRun(stackDir);
  return run !== undefined && isRecordAlive(run.supervisor) ? run : undefined;
}

/**
 * @param {string} stackDir
 * @param {RunRecord} run
 */
export function writeRun(stackDir, run) {
  writePrivateJson(recordPath(stackDir), run);
}

/** @param {string} stackDir */
export function removeRun(stackDir) {
  rmSync(recordPath(stackDir), { force: true });
}

/**
 * Stops the processes that a dead supervisor left running, the last started first. Returns their names.
 * @param {string} stackDir
 */
export async function stopLeftovers(stackDir) {
  const run = readRun(stackDir);
  if (run === undefined || isRecordAlive(run.supervisor)) return [];
  const stopped = [];
  for (const [name, record] of Object.entries(run.children).reverse()) {
    if (await stopRecorded(record)) stopped.push(name);
  }
  removeRun(stackDir);
  return stopped;
}
