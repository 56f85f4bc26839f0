import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";

const demoFile = z.object({
  apiUrl: z.string(),
  socketUrl: z.string(),
  serverKey: z.string(),
  operatorKey: z.string(),
  pids: z.record(z.string(), z.number()),
});
export type DemoStack = z.infer<typeof demoFile>;

const DEMO_FILE = ".stack/demo.json";

/** A program needs a stack that does not run, or not in the mode that it needs. */
export class NoStack extends Error {
  constructor(what = "stack") {
    super(`no ${what} is running: npm run up`);
  }
}

/** What `npm run up` writes for its tools. @throws NoStack when no stack has written it. */
export function readDemoStack(): DemoStack {
  if (!existsSync(DEMO_FILE)) throw new NoStack();
  return demoFile.parse(JSON.parse(readFileSync(DEMO_FILE, "utf8")));
}

/** Variables of the stack's environment. @throws NoStack when one is missing; `what` names the stack that has all. */
export function readStackEnv<const Name extends string>(
  names: readonly Name[],
  what?: string,
): Record<Name, string> {
  const env = z.record(z.enum(names), z.string()).safeParse(pickEnv(names));
  if (!env.success) throw new NoStack(what);
  return env.data;
}

function pickEnv(names: readonly string[]): Record<string, string | undefined> {
  return Object.fromEntries(names.map((name) => [name, process.env[name]]));
}

/** Where the stack's Synapse keeps its data, which decides how fast it is. */
export const SYNAPSE_DATA = `Synapse's data: ${process.env["STACK_SYNAPSE_DATA"] ?? "unknown"}`;
