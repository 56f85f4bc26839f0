import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { z } from "zod";

/** What a process has asked of the servers since it started. */
const asked = z.object({ statements: z.number(), commands: z.number() });
export type Asked = z.infer<typeof asked>;

/** The working process of one arm. */
export type Child = { counts: () => Promise<Asked>; stop: () => Promise<void> };

export async function startChild(
  kind: "ours" | "raw",
  databaseUrl: string,
  redisUrl: string,
): Promise<Child> {
  const path = fileURLToPath(new URL("./child.js", import.meta.url));
  const child = fork(path, [kind, databaseUrl, redisUrl]);
  await answerOf(child, "ready");
  return {
    counts: async () => {
      child.send("counts");
      return asked.parse(await answerOf(child, "counts"));
    },
    stop: async () => {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.send("stop");
      await ended;
    },
  };
}

function answerOf(child: ChildProcess, field: string): Promise<unknown> {
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
