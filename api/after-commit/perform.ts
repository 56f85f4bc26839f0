import type { Db } from "../../shared/db/connection/open.ts";
import { createSingleFlight } from "../../shared/platform/concurrency/single-flight.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { JobName } from "../../shared/queues/index.ts";
import type { Wake } from "../../shared/queues/open.ts";
import { publishUnread } from "../../shared/timeline/signs/publish-unread.ts";
import { publishUserEventOutbox } from "../../shared/timeline/publish-user-events.ts";
import { publishAppended, publishRooms } from "../../shared/timeline/publish.ts";
import { publishReceipts } from "../../shared/timeline/signs/receipts.ts";
import type { ApiMetrics } from "../metrics.ts";
import type { JobWake, SideEffect, SideEffectOf, SideEffectType } from "./side-effects.ts";

/** User events that one run publishes at most. */
const MAX_USER_EVENTS = 500;

export type PerformDeps = {
  db: Db;
  redis: Redis;
  wake: Wake;
  metrics: Pick<ApiMetrics, "publishLag">;
};

/** Performs the side effects of one transaction. @throws what Redis or Postgres throws. */
export type Perform = (effects: readonly SideEffect[]) => Promise<void>;

/** Performs all side effects of one type. Those of the second phase begin when those of the first are done. */
type Performer = { phase: 1 | 2; perform: (effects: readonly SideEffect[]) => Promise<unknown> };

export function createPerform(deps: PerformDeps): Perform {
  const performers = createPerformers(deps);
  return async (effects) => {
    const types = [...new Set(effects.map(({ type }) => type))];
    for (const phase of [1, 2]) {
      const due = types.filter((type) => performers[type].phase === phase);
      await Promise.all(due.map((type) => performers[type].perform(effects)));
    }
  };
}

function createPerformers({ db, redis, wake, metrics }: PerformDeps): Record<SideEffectType, Performer> {
  const publishUserEvents = createSingleFlight(() => publishUserEventOutbox({ db, redis }, MAX_USER_EVENTS));
  const timed = async (publish: () => Promise<unknown>): Promise<void> => {
    const endLag = metrics.publishLag.startTimer();
    await publish();
    endLag();
  };
  const publishTimelines = (roomIds: readonly string[]) => timed(() => publishRooms({ db, redis }, roomIds));
  return {
    wakeJob: performer("wakeJob", 1, (all) => Promise.all(all.map((one) => wakeOne(wake, one)))),
    publishTimeline: performer("publishTimeline", 1, (all) => publishTimelines(all.map((it) => it.roomId))),
    publishAppended: performer("publishAppended", 1, (all) =>
      timed(() =>
        publishAppended(
          { db, redis },
          all.flatMap(({ entries }) => entries),
        ),
      ),
    ),
    publishUnread: performer("publishUnread", 1, (all) =>
      publishUnread(
        { db, redis },
        all.flatMap(({ positions }) => positions),
      ),
    ),
    publishReceipts: performer("publishReceipts", 1, (all) =>
      publishReceipts(
        redis,
        all.flatMap(({ receipts }) => receipts),
      ),
    ),
    // After the timelines: a removed user's connections receive the removal as an entry before they are unsubscribed.
    publishUserEvents: performer("publishUserEvents", 2, publishUserEvents),
  };
}

function performer<T extends SideEffectType>(
  type: T,
  phase: Performer["phase"],
  perform: (effects: readonly SideEffectOf<T>[]) => Promise<unknown>,
): Performer {
  const isOwn = (effect: SideEffect): effect is SideEffectOf<T> => effect.type === type;
  return { phase, perform: (effects) => perform(effects.filter(isOwn)) };
}

function wakeOne<N extends JobName>(wake: Wake, { name, payload }: JobWake<N>): Promise<boolean> {
  return wake(name, payload);
}
