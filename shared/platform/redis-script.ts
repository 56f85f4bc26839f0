import { createHash } from "node:crypto";
import type { Redis } from "./redis.ts";

/** A Lua script that Redis runs by its hash. */
export type Script = { text: string; sha: string };

export type ScriptCall = {
  script: Script;
  keys: readonly string[];
  args: readonly (string | number)[];
};

export function createScript(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

/**
 * Runs scripts in order, in one round trip. Returns the reply of each.
 * @throws the error of the first one that failed; the others have run.
 */
export async function runScripts(redis: Redis, calls: readonly ScriptCall[]): Promise<unknown[]> {
  if (calls.length === 0) return [];
  const replies = await execute(redis, calls);
  const unknown = calls.filter((_call, index) => isUnknownScript(replies[index]?.[0]));
  if (unknown.length > 0) {
    // Redis has lost its scripts, or never had them. Those calls have done nothing.
    const texts = new Set(unknown.map(({ script }) => script.text));
    await Promise.all([...texts].map((text) => redis.script("LOAD", text)));
    const again = await execute(redis, unknown);
    for (const [index, call] of unknown.entries()) {
      const reply = again[index];
      if (reply) replies[calls.indexOf(call)] = reply;
    }
  }
  return replies.map(([error, value]) => {
    if (error) throw error;
    return value;
  });
}

type Reply = [error: Error | null, value: unknown];

async function execute(redis: Redis, calls: readonly ScriptCall[]): Promise<Reply[]> {
  const pipeline = redis.pipeline();
  for (const { script, keys, args } of calls) pipeline.evalsha(script.sha, keys.length, ...keys, ...args);
  return (await pipeline.exec()) ?? [];
}

function isUnknownScript(error: Error | null | undefined): boolean {
  return error?.message.startsWith("NOSCRIPT") ?? false;
}
