import { openApi } from "../api/server.ts";
import { migrateUp } from "../migrations/index.ts";
import { openDb } from "../shared/db/connection/open.ts";
import { readConfig } from "../shared/platform/config.ts";
import { createLog } from "../shared/platform/log.ts";
import { Resources } from "../shared/platform/shutdown.ts";
import { runBench, type Options } from "./options.ts";
import { createFixture } from "./reads/fixture.ts";
import { measureReads, type Times } from "./reads/measure.ts";
import { readStackEnv } from "./stack.ts";

/**
 * `npm run bench:reads [-- --members N --rooms N --messages N --reactions N --calls N --json]`: what a person reads through the API, call
 * after call, beside a bare query. In a database and a Redis database of its own on the running stack's servers.
 */
const REDIS_DATABASE = 10;

const NUMBERS = {
  members: { otherwise: 2_000, from: 10, to: 100_000 },
  rooms: { otherwise: 500, from: 2, to: 10_000 },
  messages: { otherwise: 100_000, from: 100, to: 10_000_000 },
  reactions: { otherwise: 50_000, from: 10, to: 1_000_000 },
  calls: { otherwise: 300, from: 10, to: 100_000 },
};

async function main(options: Options<typeof NUMBERS>): Promise<number> {
  const env = readStackEnv(["DATABASE_URL", "REDIS_URL"]);
  const name = `bench_reads_${Date.now().toString(36)}`;
  const stack = openDb({ url: env.DATABASE_URL, name: "bench", max: 2 });
  await stack.raw(`create database ${name}`);
  try {
    print(
      options,
      await measureIn(env.DATABASE_URL.replace(/\/[^/?]+(\?|$)/, `/${name}$1`), env.REDIS_URL, options),
    );
  } finally {
    await stack.raw(`drop database if exists ${name} with (force)`);
    await stack.destroy();
  }
  return 0;
}

async function measureIn(
  databaseUrl: string,
  redisUrl: string,
  options: Options<typeof NUMBERS>,
): Promise<Times[]> {
  const log = createLog({ level: "warn", tier: "bench" });
  const config = readConfig({
    DATABASE_URL: databaseUrl,
    REDIS_URL: `${redisUrl.replace(/\/\d+$/, "")}/${String(REDIS_DATABASE)}`,
    SYNAPSE_URL: "http://127.0.0.1:9",
    SYNAPSE_SERVER_NAME: "bench",
    SYNAPSE_AS_TOKEN: "nobody asks for it here",
    SEAL_KEYS: `bench:${Buffer.alloc(32, 1).toString("base64")}`,
    API_PORT: "0",
    LOG_LEVEL: "warn",
  });
  const db = openDb({ url: databaseUrl, name: "bench-reads", max: 16 });
  const held = new Resources();
  try {
    await migrateUp(db);
    const fixture = await createFixture(db, config, options);
    const address = (await openApi(config, log, held)).address();
    const port = typeof address === "object" && address ? address.port : 0;
    return await measureReads({ db, url: `http://127.0.0.1:${String(port)}`, fixture }, options.calls);
  } finally {
    await held.closeAll(log);
    await db.destroy();
  }
}

function print({ json, ...size }: Options<typeof NUMBERS>, times: readonly Times[]): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ size, times })}\n`);
    return;
  }
  process.stdout.write(
    `${Object.entries(size)
      .map(([what, count]) => `${String(count)} ${what}`)
      .join(", ")}\n                     p50 ms    p99 ms\n`,
  );
  for (const { what, p50, p99 } of times)
    process.stdout.write(`${what.padEnd(16)}${p50.toFixed(1).padStart(10)}${p99.toFixed(1).padStart(10)}\n`);
}

await runBench(NUMBERS, main);
