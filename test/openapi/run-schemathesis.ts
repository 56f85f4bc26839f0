import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { requireEnv } from "../support/db.ts";

export type Run = {
  url: string;
  credential: string | null;
  /** The id of a message that exists. */
  messageId: string;
  /** The tags of the calls; empty for every call, also those without a tag. */
  tags: readonly string[];
  /** The phases of schemathesis: `examples` of the document, `coverage` of its limits, `fuzzing` at random. */
  phases: string;
  /** Random requests for each call. */
  examples: number;
  limitMs: number;
};

/** Sends generated requests, and returns what schemathesis found: null, or its report with a curl command for each. */
export function runSchemathesis(run: Run): Promise<string | null> {
  // It leaves files in its working directory.
  const cwd = mkdtempSync(join(tmpdir(), "schemathesis-"));
  const program = join(dirname(requireEnv("TEST_SCHEMATHESIS_PYTHON")), "schemathesis");
  const files = import.meta.dirname;
  const credential = run.credential === null ? [] : ["--header", `Authorization: Bearer ${run.credential}`];
  const args = [
    ...["--config-file", join(files, "schemathesis.toml"), "run", `${run.url}/docs/openapi.json`],
    ...["--url", run.url, "--phases", run.phases, "--max-examples", String(run.examples), "--no-color"],
    ...credential,
    ...run.tags.flatMap((tag) => ["--include-tag", tag]),
  ];
  const env = {
    PATH: process.env["PATH"],
    PYTHONDONTWRITEBYTECODE: "1",
    SCHEMATHESIS_HOOKS: join(files, "hooks.py"),
    MESSAGE_ID: run.messageId,
    ROTATE_ADDRESS: run.credential === null ? "yes" : "no",
  };
  return new Promise((resolve) => {
    const options = { cwd, env, timeout: run.limitMs, maxBuffer: 64 * 1_024 * 1_024 };
    execFile(program, args, options, (error, stdout, stderr) => {
      rmSync(cwd, { recursive: true, force: true });
      resolve(error ? `${error.killed ? "not finished in time\n" : ""}${stdout}\n${stderr}` : null);
    });
  });
}
