import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ADMIN = join(dirname(fileURLToPath(import.meta.url)), "../../workers/admin.js");

/** Makes another tenant than the demo's, if there is none of that name. Returns a new server key of it. */
export async function openTenant(slug: string): Promise<string> {
  await admin("tenant", "create", slug);
  const { key } = JSON.parse(await admin("key", "create", "--tenant", slug, "--role", "server")) as {
    key: string;
  };
  return key;
}

async function admin(...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [ADMIN, ...args, "--json"]);
  return stdout;
}
