import { ConfigError, readConfig, type Config } from "./config.ts";

const UNUSABLE_EXIT_CODE = 2;

/** The configuration of a tier's process. Where the environment is not usable, prints every fault and exits with 2. */
export function readProcessConfig(env: Record<string, string | undefined>): Config {
  try {
    return readConfig(env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(UNUSABLE_EXIT_CODE);
  }
}
