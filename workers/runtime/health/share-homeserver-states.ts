import type { Db } from "../../../shared/db/connection/open.ts";
import {
  listUsedHomeservers,
  removeHomeserverStates,
  saveHomeserverStatus,
  type HomeserverStatus,
} from "../../../shared/db/homeservers/homeserver-states.ts";
import { every } from "../../../shared/platform/concurrency/every.ts";
import { newId } from "../../../shared/platform/ids.ts";
import type { Log } from "../../../shared/platform/log.ts";
import type { HomeserverPool } from "../../matrix/homeserver/pool.ts";

const CHECK_EVERY_MS = 1_000;
/** A row is written again after this, or with the next change. Readers take a row for 15 s. */
const SAVE_EVERY_MS = 5_000;
const LIST_EVERY_MS = 60_000;

/**
 * Opens the homeservers of all active tenants, so that they are watched whether a room of theirs has work or not, and
 * saves how this process sees each, for the api and its pages.
 */
export function shareHomeserverStates(deps: {
  db: Db;
  homeservers: Pick<HomeserverPool, "get" | "statuses">;
  log: Log;
}): { stop: () => Promise<void> } {
  const { db, homeservers, log } = deps;
  const process = newId();
  const saved = new Map<string, { state: HomeserverStatus["state"]; atMs: number }>();
  let listedAtMs = -Infinity;
  const openAll = async () => {
    if (performance.now() - listedAtMs < LIST_EVERY_MS) return;
    const outcomes = await Promise.allSettled(
      (await listUsedHomeservers(db)).map((id) => homeservers.get(id)),
    );
    const failed = outcomes.filter((outcome) => outcome.status === "rejected");
    // One that cannot be opened hides none of the others.
    for (const { reason } of failed) onError(reason);
    if (failed.length === 0) listedAtMs = performance.now();
  };
  const saveAll = async () => {
    for (const [homeserverId, status] of homeservers.statuses()) {
      const last = saved.get(homeserverId);
      const atMs = performance.now();
      if (last?.state === status.state && atMs - last.atMs < SAVE_EVERY_MS) continue;
      await saveHomeserverStatus(db, { homeserverId, process, ...status });
      saved.set(homeserverId, { state: status.state, atMs });
    }
  };
  const onError = (error: unknown) => {
    log.debug({ err: error }, "sharing the homeservers' states failed: tried again in a second");
  };
  const run = async () => {
    await openAll();
    await saveAll();
  };
  const first = run().catch(onError);
  const repeating = every(CHECK_EVERY_MS, run, onError);
  return {
    stop: async () => {
      await first;
      await repeating.stop();
      await removeHomeserverStates(db, process).catch(onError);
    },
  };
}
