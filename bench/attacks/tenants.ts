import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const run = promisify(execFile);

/** Creates a tenant of the running stack, with limits as `name=value`. Returns a server key of it. */
export async function createTenantWithKey(slug: string, limits: readonly string[]): Promise<string> {
  await runAdmin("tenant", "create", slug);
  if (limits.length > 0) await runAdmin("tenant", "limits", slug, ...limits);
  const created = await runAdmin("key", "create", "--tenant", slug, "--role", "server");
  return z.object({ key: z.string() }).parse(created).key;
}

async function runAdmin(...args: readonly string[]): Promise<unknown> {
  const program = fileURLToPath(new URL("../../workers/admin.js", import.meta.url));
  const { stdout } = await run(process.execPath, [program, ...args, "--json"]);
  return JSON.parse(stdout);
}
