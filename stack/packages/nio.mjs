import { installPackages } from "./apt.mjs";
import { Fault, Unavailable } from "../machine/fault.mjs";
import { ensureVenv, refuseUnlessRuns } from "./python.mjs";

const check = "import nio, nio.api";

/**
 * A Python that has matrix-nio, an independent Matrix client with which the tests read and write our rooms.
 * @param {{cacheDir: string, log: (line: string) => void}} given
 * @returns {Promise<string>} the path of the Python
 */
export async function ensureNioPython({ cacheDir, log }) {
  const refusals = [];
  for (const find of [findInVenv, findInDebian]) {
    try {
      return await find({ cacheDir, log });
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      log(`nio: ${error.message}`);
      refusals.push(error.message);
    }
  }
  throw new Fault(`no matrix-nio for the tests:\n  ${refusals.join("\n  ")}`, {
    advice: "let pip reach its index, or install the Debian package python3-matrix-nio",
  });
}

/** @param {{cacheDir: string, log: (line: string) => void}} given */
async function findInVenv({ cacheDir, log }) {
  return (await ensureVenv({ name: "nio", loose: ["matrix-nio==0.26.0"], check, cacheDir, log })).python;
}

/** @param {{cacheDir: string, log: (line: string) => void}} given */
async function findInDebian({ cacheDir, log }) {
  const python = "/usr/bin/python3";
  try {
    await refuseUnlessRuns([python, "-c", check], `${python} has no nio`);
  } catch {
    await installPackages({ packages: ["python3-matrix-nio"], cacheDir, log });
    await refuseUnlessRuns([python, "-c", check], `${python} has no nio`);
  }
  return python;
}
