import type { DemoStack } from "../stack.ts";

/**
 * What an unauthenticated client or one tenant does to the others, run on loopback against the running stack. Returns its figures, each
 * with its unit in the name (`p95Ms`, `refused`). It leaves nothing open.
 */
export type Attack = (stack: DemoStack, write: (line: string) => void) => Promise<Record<string, number>>;
