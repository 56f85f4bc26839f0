import { deleteOldParkedEntries } from "../../shared/db/timeline/consumers.ts";
import type { WorkerContext } from "../runtime/context.ts";

const PARKED_KEPT = "90 days";
/** The next run, an hour later, deletes the rest. */
const DELETED_AT_ONCE = 50_000;

/** Operators see what was parked for three months. */
export async function deleteParkedEntries({ db, log }: WorkerContext): Promise<void> {
  const rows = await deleteOldParkedEntries(db, { olderThan: PARKED_KEPT, limit: DELETED_AT_ONCE });
  if (rows > 0) log.info({ rows }, "old parked entries deleted");
}
