import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";

/** The version of this program: that of package.json, which lies beside the sources and above what is built of them. */
export const VERSION = readVersion();

function readVersion(): string {
  const places = ["../../package.json", "../../../package.json"].map(
    (path) => new URL(path, import.meta.url),
  );
  const place = places.find((file) => existsSync(file));
  if (!place) throw new Error("there is no package.json beside or above the program");
  return z.object({ version: z.string() }).parse(JSON.parse(readFileSync(place, "utf8"))).version;
}
