import type { TimelineConsumer } from "../../shared/timeline/consumers/define.ts";
import { CONSUMERS, type ConsumerName } from "../../shared/timeline/consumers/index.ts";
import type { Deliver, RunningConsumer } from "./deliver.ts";

/** The handler of every consumer, by the consumer's name. */
const HANDLERS: { readonly [Name in ConsumerName]: Deliver } = {};

const consumers: readonly TimelineConsumer<ConsumerName>[] = CONSUMERS;

export const RUNNING_CONSUMERS: readonly RunningConsumer[] = consumers.map((consumer) => ({
  ...consumer,
  deliver: HANDLERS[consumer.name],
}));
