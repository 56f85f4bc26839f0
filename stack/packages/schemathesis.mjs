import { Fault, Unavailable } from "../machine/fault.mjs";
import { ensureVenv } from "./python.mjs";

/**
 * A Python that has schemathesis, with which a test sends generated requests to the API.
 * @param {{cacheDir: string, log: (line: string) => void}} given
 * @returns {Promise<string>} the path of the Python
 */
export async function ensureSchemathesisPython({ cacheDir, log }) {
  try {
    const { python } = await ensureVenv({
      name: "schemathesis",
      loose: ["schemathesis==4.30.1"],
      check: "import schemathesis.cli",
      cacheDir,
      log,
    });
    return python;
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    throw new Fault(`no schemathesis for the tests: ${error.message}`, {
      advice: "let pip reach its index",
      cause: error,
    });
  }
}
