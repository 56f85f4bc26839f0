import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";

/** The version in package.json, which is one folder higher for the built program than for its sources. */
export const VERSION = readVersion();

function readVersion(): string {
  const candidates = ["../../package.json", "../../../package.json"].map(
    (path) => new URL(path, import.meta.url),
  );
  const file = candidates.find((candidate) => existsSync(candidate));
  if (!file) throw new Error("there is no package.json beside or above the program");
  return z.object({ version: z.string() }).parse(JSON.parse(readFileSync(file, "utf8"))).version;
}
