import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { z } from "zod";

/** SQL statements and Redis commands that a process has sent since it started. */
const usage = z.object({ statements: z.number(), commands: z.number() });
export type Usage = z.infer<typeof usage>;

/** A process that does the work of a measurement. */
export type Child = { usage: () => Promise<Usage>; stop: () => Promise<void> };

export async function startChild(
  kind: "ours" | "raw",
  databaseUrl: string,
  redisUrl: string,
): Promise<Child> {
  const path = fileURLToPath(new URL("./child.js", import.meta.url));
  const child = fork(path, [kind, databaseUrl, redisUrl]);
  await awaitField(child, "ready");
  return {
    usage: async () => {
      child.send("usage");
      return usage.parse(await awaitField(child, "usage"));
    },
    stop: async () => {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.send("stop");
      await ended;
    },
  };
}

function awaitField(child: ChildProcess, field: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    child.once("exit", (code) => {
      reject(new Error(`the bench's worker ended with ${String(code)}`));
    });
    child.on("message", (message: unknown) => {
      if (typeof message === "object" && message !== null && field in message)
        resolve(new Map(Object.entries(message)).get(field));
    });
  });
}
