import { rowsOf } from "../../shared/db/connection/open.ts";
import { percentile } from "../percentile.ts";
import { pause, waitFor } from "../wait.ts";
import type { Bench } from "./bench.ts";
import { startChild } from "./children.ts";
import { readLedger, readNow } from "./fixture.ts";
import { LIMIT_MS } from "./measure.ts";

/** Not counted: a process that has just started plans its statements and compiles its code. */
const WARM_UP_S = 6;

export type OpenLoop = { rate: number; seconds: number; p50: number; p99: number; messages: number };

/** Posts at a steady rate. `p50` and `p99`: milliseconds from acceptance to the mark as sent. */
export async function runOpenLoop(
  bench: Bench,
  { rate, seconds }: { rate: number; seconds: number },
): Promise<OpenLoop> {
  const { db, fixture } = bench;
  const child = await startChild("ours", bench.databaseUrl, bench.redisUrl);
  await postAtRate(bench, rate, WARM_UP_S);
  const since = await readNow(db);
  const total = await postAtRate(bench, rate, seconds);
  await waitFor(
    LIMIT_MS,
    "open loop",
    async () => (await readLedger(db, fixture.tenantId, since)).sent >= total,
  );
  await child.stop();
  const rows = await rowsOf<{ ms: number }>(
    db,
    `select (extract(epoch from sent_at - accepted_at) * 1000)::float8 as ms from messages where tenant_id = ? and accepted_at >= ?`,
    [fixture.tenantId, since],
  );
  const times = rows.map((row) => row.ms);
  return {
    rate,
    seconds,
    p50: percentile(times, 0.5) ?? 0,
    p99: percentile(times, 0.99) ?? 0,
    messages: total,
  };
}

/** Posts at a steady rate without waiting for answers. Resolves with the number of posts when all are accepted. */
async function postAtRate({ accept, fixture }: Bench, rate: number, seconds: number): Promise<number> {
  const total = rate * seconds;
  const startedAtMs = performance.now();
  const posts: Promise<unknown>[] = [];
  for (let index = 0; index < total; index++) {
    const dueAtMs = startedAtMs + (index * 1_000) / rate;
    const waitMs = dueAtMs - performance.now();
    if (waitMs > 1) await pause(waitMs);
    posts.push(accept(fixture.message(index)));
  }
  await Promise.all(posts);
  return total;
}
