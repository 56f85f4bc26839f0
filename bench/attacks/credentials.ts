import { setTimeout as sleep } from "node:timers/promises";
import { openDb, rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { percentile } from "../percentile.ts";
import { readStackEnv } from "../stack.ts";
import type { Attack } from "./define.ts";
import { openTenant } from "./second-tenant.ts";

const KEYS = 2_000;
const AT_ONCE = 200;
/** Longer than Postgres takes to count what a connection did. */
const SETTLE_MS = 2_000;
const CALM_MS = 5_000;
const PAUSE_MS = 20;

/** 2,000 unknown keys from one address, 200 at once, while another tenant's backend reads from the same address. */
export const credentials: Attack = async ({ apiUrl }, write) => {
  const key = await openTenant("credentials-other");
  const db = openDb({ url: readStackEnv(["DATABASE_URL"]).DATABASE_URL, name: "attack", max: 1 });
  try {
    const other = () => ask(apiUrl, key);
    write("calm");
    const calm = await measure(db, other, () => sleep(CALM_MS));
    write(`${String(KEYS)} unknown keys`);
    const statuses: number[] = [];
    const attack = await measure(db, other, async () => {
      let sent = 0;
      const send = async () => {
        while (sent < KEYS) statuses.push(await ask(apiUrl, unknownKey(sent++)));
      };
      await Promise.all(Array.from({ length: AT_ONCE }, send));
    });
    return {
      unauthorized: statuses.filter((status) => status === 401).length,
      rateLimited: statuses.filter((status) => status === 429).length,
      attackMs: Math.round(attack.durationMs),
      transactions: attack.transactions,
      otherReads: attack.readMs.length,
      otherRefused: attack.refused,
      calmTransactionsPerS: Math.round(calm.transactions / (calm.durationMs / 1_000)),
      calmReadP50Ms: Math.round(percentile(calm.readMs, 0.5) ?? 0),
      attackReadP50Ms: Math.round(percentile(attack.readMs, 0.5) ?? 0),
      attackReadP95Ms: Math.round(percentile(attack.readMs, 0.95) ?? 0),
    };
  } finally {
    await db.destroy();
  }
};

/** Reads for as long as `work` runs. `transactions` includes those of the reads and of the other processes. */
async function measure(db: Db, read: () => Promise<number>, work: () => Promise<unknown>) {
  await sleep(SETTLE_MS);
  const before = await countTransactions(db);
  const readMs: number[] = [];
  let refused = 0;
  const over = new AbortController();
  const reading = (async () => {
    while (!over.signal.aborted) {
      const startMs = performance.now();
      // An unknown user is a 404 of a valid key.
      if ((await read()) !== 404) refused++;
      readMs.push(performance.now() - startMs);
      await sleep(PAUSE_MS);
    }
  })();
  const startMs = performance.now();
  await work();
  const durationMs = performance.now() - startMs;
  over.abort();
  await reading;
  await sleep(SETTLE_MS);
  return { readMs, refused, durationMs, transactions: (await countTransactions(db)) - before };
}

async function countTransactions(db: Db): Promise<number> {
  const [row] = await rowsOf<{ count: string }>(
    db,
    "select xact_commit + xact_rollback as count from pg_stat_database where datname = current_database()",
    [],
  );
  return Number(row?.count);
}

async function ask(apiUrl: string, key: string): Promise<number> {
  const response = await fetch(`${apiUrl}/v1/users/unknown`, { headers: { authorization: `Bearer ${key}` } });
  await response.arrayBuffer();
  return response.status;
}

function unknownKey(index: number): string {
  const id = index.toString(2).replaceAll("0", "a").replaceAll("1", "b").padStart(16, "a");
  return `omc_server_${id}_${"c".repeat(40)}`;
}
