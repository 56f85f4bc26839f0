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

/** What `npm run up` left for its tools; null when no stack is up. */
export function readDemoStack(): DemoStack | null {
  if (!existsSync(DEMO_FILE)) return null;
  return demoFile.parse(JSON.parse(readFileSync(DEMO_FILE, "utf8")));
}

/** Where the stack's Synapse keeps its data, which decides how fast it is; as people read it. */
export const SYNAPSE_DATA = `Synapse's data: ${process.env["STACK_SYNAPSE_DATA"] ?? "not ours to know"}`;
