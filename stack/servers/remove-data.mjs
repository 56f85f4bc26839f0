import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { SEAL_KEYS_FILE } from "../supervisor/stack-env.mjs";

/**
 * Removes what this checkout's stack has kept. A database that is named by DATABASE_URL is not ours and stays, and with it
 * the keys that its secrets are sealed with.
 * @param {{paths: {stateDir: string, stackDir: string}, env: NodeJS.ProcessEnv, log: (line: string) => void}} given
 */
export function removeData({ paths: { stateDir, stackDir }, env, log }) {
  log(`fresh: removing the data in ${stateDir}`);
  const own = readdirSync(stateDir).filter((name) => !(env.DATABASE_URL && name === SEAL_KEYS_FILE));
  const paths = own.map((name) => join(stateDir, name));
  for (const path of [...paths, join(stackDir, "demo.json"), join(stackDir, "env.json")])
    rmSync(path, { recursive: true, force: true });
  if (env.DATABASE_URL)
    log(
      "fresh: the database of DATABASE_URL is not ours and stays as it is, with the keys that seal its secrets",
    );
}
