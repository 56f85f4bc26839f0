import { withTimeout } from "../../platform/concurrency/with-timeout.ts";
import { CHECK_LIMIT_MS, type FoundProblem } from "../../platform/problems/problems.ts";
import { isDbUp, type Db } from "./open.ts";

/** Looks for problems of Postgres. It never fails. */
export async function findPostgresProblems(db: Db): Promise<FoundProblem[]> {
  const isUp = await withTimeout(isDbUp(db), CHECK_LIMIT_MS, () => false);
  return isUp ? [] : [{ code: "postgres_down", severity: "critical", detail: "Postgres does not answer." }];
}
