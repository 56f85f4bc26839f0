import type { TimelineConsumer } from "./define.ts";

/**
 * Every timeline consumer of the product. A new one is a file beside this one, a line here, and its handler in
 * `workers/consumers/index.ts`, which does not compile before it is there.
 */
export const CONSUMERS = [] as const satisfies readonly TimelineConsumer[];

export type ConsumerName = (typeof CONSUMERS)[number]["name"];
