import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";

const ROOT = resolve(import.meta.dirname, "../..");

/** A file's path and imports, and the rule that refuses each import. */
const REFUSED: [file: string, target: string, rule: string][] = [
  ["shared/contract/a.ts", "node:fs", "contract-imports-zod-only"],
  ["shared/contract/b.ts", "pino", "contract-imports-zod-only"],
  ["shared/contract/c.ts", "../platform/ids.ts", "contract-imports-zod-only"],
  ["api/a.ts", "../workers/jobs/index.ts", "api-imports-no-other-tier"],
  ["workers/a.ts", "../realtime/app.ts", "workers-imports-no-other-tier"],
  ["realtime/a.ts", "../api/server.ts", "realtime-imports-no-other-tier"],
  ["shared/platform/a.ts", "../../api/server.ts", "shared-imports-no-tier"],
  ["workers/runtime/a.ts", "../jobs/membership.ts", "door-of-workers/jobs"],
  ["workers/outbound/a.ts", "../matrix/http/polyfill.ts", "door-of-workers/matrix/http"],
  ["api/http/a.ts", "../admin/session.ts", "door-of-api/admin"],
  ["api/http/b.ts", "../admin/pages.ts", "users-of-api/admin/pages"],
  ["realtime/session/a.ts", "../transport/uws.ts", "users-of-realtime/transport/(uws|ws)"],
  [
    "api/http/c.ts",
    "../../shared/db/connection/pipelined-transaction.ts",
    "users-of-shared/db/connection/pipelined-transaction",
  ],
  ["workers/b.ts", "./main.ts", "programs-are-imported-by-no-file"],
  ["shared/timeline/a.ts", "ioredis", "one-door-for-ioredis"],
];

const ALLOWED: [file: string, target: string][] = [
  ["shared/contract/d.ts", "zod"],
  ["shared/contract/e.ts", "./errors.ts"],
  ["workers/runtime/b.ts", "../jobs/index.ts"],
  ["api/server.ts", "./admin/pages.ts"],
  ["shared/timeline/b.ts", "../db/connection/pipelined-transaction.ts"],
  ["shared/platform/redis.ts", "ioredis"],
];

const report = z.object({
  summary: z.object({
    violations: z.array(z.object({ from: z.string(), to: z.string(), rule: z.object({ name: z.string() }) })),
  }),
});

let folder: string;
let violations: z.infer<typeof report>["summary"]["violations"];
beforeAll(async () => {
  mkdirSync(join(ROOT, ".stack"), { recursive: true });
  folder = mkdtempSync(join(ROOT, ".stack/import-rules-"));
  const imports = [...REFUSED, ...ALLOWED].map(([file, target]) => ({ file, target }));
  // What is imported must exist, or it would be refused for that alone.
  for (const { file, target } of imports) if (target.startsWith(".")) write(join(dirname(file), target), "");
  for (const { file, target } of imports) write(file, `import ${JSON.stringify(target)};\n`);
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  symlinkSync(join(ROOT, "package.json"), join(folder, "package.json"));
  symlinkSync(join(ROOT, "tsconfig.json"), join(folder, "tsconfig.json"));
  const rules = { extends: join(ROOT, ".dependency-cruiser.cjs"), options: { preserveSymlinks: true } };
  write("rules.cjs", `module.exports = ${JSON.stringify(rules)};\n`);
  violations = await checkImports();
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function write(file: string, text: string): void {
  mkdirSync(dirname(join(folder, file)), { recursive: true });
  writeFileSync(join(folder, file), text);
}

/** Runs the import checker on the files, under the rules of `npm run check`. */
async function checkImports() {
  const program = join(ROOT, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs");
  const args = ["--config", "rules.cjs", "--output-type", "json", "api", "realtime", "shared", "workers"];
  const output = await new Promise<string>((done) => {
    // It exits with the number of violations.
    execFile(process.execPath, [program, ...args], { cwd: folder, maxBuffer: 2 ** 26 }, (_, stdout) => {
      done(stdout);
    });
  });
  return report.parse(JSON.parse(output)).summary.violations;
}

const rulesThatRefuse = (file: string) =>
  violations.filter(({ from }) => from === file).map(({ rule }) => rule.name);

test.each(REFUSED)("%s may not import %s", (file, _target, rule) => {
  expect(rulesThatRefuse(file)).toContain(rule);
});

test.each(ALLOWED)("%s may import %s", (file) => {
  expect(rulesThatRefuse(file)).toEqual([]);
});
