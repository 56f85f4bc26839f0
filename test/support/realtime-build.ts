import { transformFile } from "@swc/core";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const TIERS = ["realtime", "shared", "migrations"];

/** Compiles the tier's sources into a new folder of the checkout, which the caller removes. */
export async function buildRealtime(): Promise<{ dist: string; remove: () => Promise<void> }> {
  await mkdir(join(ROOT, ".stack"), { recursive: true });
  const dist = await mkdtemp(join(ROOT, ".stack/realtime-"));
  const files = (await Promise.all(TIERS.map(listSources))).flat();
  await Promise.all(files.map((file) => translate(file, dist)));
  return { dist, remove: () => rm(dist, { recursive: true, force: true }) };
}

async function listSources(tier: string): Promise<string[]> {
  const names = await readdir(join(ROOT, tier), { recursive: true });
  return names.filter((name) => name.endsWith(".ts")).map((name) => join(tier, name));
}

async function translate(file: string, dist: string): Promise<void> {
  const { code } = await transformFile(join(ROOT, file), {
    jsc: {
      target: "es2022",
      parser: { syntax: "typescript" },
      transform: { useDefineForClassFields: false },
    },
    module: { type: "es6" },
    swcrc: false,
  });
  const target = join(dist, file.replace(/\.ts$/, ".js"));
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, code.replace(/(from |import\()(["'])(\.{1,2}\/[^"']+)\.ts\2/g, "$1$2$3.js$2"));
}
