import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "run-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** Runs one test with this body as ours are run; returns its exit code and output. */
async function run(body: string): Promise<{ code: unknown; printed: string }> {
  await writeFile(join(folder, "one.test.cjs"), `test("one", () => { ${body} });`);
  const config = {
    rootDir: folder,
    testMatch: ["**/*.test.cjs"],
    globalTeardown: resolve("test/support/end-of-run.mjs"),
  };
  const jest = ["--experimental-vm-modules", "--no-warnings", resolve("node_modules/jest/bin/jest.js")];
  const child = spawn(process.execPath, [...jest, "--config", JSON.stringify(config)], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (data: Buffer) => (printed += String(data)));
  const [code] = (await once(child, "close")) as [unknown];
  return { code, printed };
}

test("a run whose tests closed what they opened ends by itself", async () => {
  expect(await run("")).toMatchObject({ code: 0, printed: expect.not.stringContaining("still open") });
});

test("a run with an open handle ends and reports it", async () => {
  const { code, printed } = await run('require("node:net").createServer().listen(0)');
  expect(code).toBe(1);
  expect(printed).toContain("Something that a test opened is still open");
});
