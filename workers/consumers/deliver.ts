import type { Db } from "../../shared/db/connection/open.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { Delivery, TimelineConsumer } from "../../shared/timeline/consumers/define.ts";

/** What a consumer's handler works with. `signal` is aborted at the time limit and when the process stops. */
export type DeliverContext = { db: Db; log: Log; signal: AbortSignal };

/**
 * Takes one entry or gap. It may receive the same one again: `(room, number)` is the key. When it resolves, the delivery
 * is done; whatever it throws is a failed try.
 */
export type Deliver = (delivery: Delivery, context: DeliverContext) => Promise<void>;

/** A consumer with its handler. */
export type RunningConsumer = TimelineConsumer & { deliver: Deliver };
