import { openDb } from "../shared/db/connection/open.ts";
import { runBench, type Options } from "./options.ts";
import { percentile } from "./percentile.ts";
import { ROOMS, withBench } from "./pipeline/bench.ts";
import { IN_FLIGHT, runRound, type Round } from "./pipeline/measure.ts";
import { runOpenLoop, type OpenLoop } from "./pipeline/open-loop.ts";
import { readStackEnv } from "./stack.ts";

/**
 * `npm run bench:pipeline [-- --messages N --rounds N --rate N --seconds N --json]`: the way out with a homeserver that
 * does nothing, BullMQ alone and an insert alone, one after the other. They run in a database and a Redis database of
 * their own on the running stack's servers, so with the same durability.
 */
const REDIS_DATABASE = 9;

const NUMBERS = {
  messages: { otherwise: 20_000, from: 1, to: 1_000_000 },
  rounds: { otherwise: 3, from: 1, to: 100 },
  rate: { otherwise: 300, from: 1, to: 10_000 },
  seconds: { otherwise: 20, from: 1, to: 3_600 },
};

async function main(options: Options<typeof NUMBERS>): Promise<number> {
  const env = readStackEnv(["DATABASE_URL", "REDIS_URL"]);
  const name = `bench_${Date.now().toString(36)}`;
  const stack = openDb({ url: env.DATABASE_URL, name: "bench", max: 2 });
  await stack.raw(`create database ${name}`);
  const urls = {
    databaseUrl: env.DATABASE_URL.replace(/\/[^/?]+(\?|$)/, `/${name}$1`),
    redisUrl: `${env.REDIS_URL.replace(/\/\d+$/, "")}/${String(REDIS_DATABASE)}`,
  };
  try {
    await withBench({ ...urls, messages: options.messages }, async (bench) => {
      const rounds: Round[] = [];
      for (let round = 0; round < options.rounds; round++) rounds.push(await runRound(bench));
      print(options, rounds, await runOpenLoop(bench, options));
    });
  } finally {
    await stack.raw(`drop database if exists ${name} with (force)`);
    await stack.destroy();
  }
  return 0;
}

function print({ messages, json }: Options<typeof NUMBERS>, rounds: readonly Round[], open: OpenLoop): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ messages, rounds, open })}\n`);
    return;
  }
  const names = [
    ...(["bullmq", "insert", "accept", "perInsert", "drain", "acceptBusy", "endToEnd"] as const),
    ...(["sqlPerMessage", "redisPerMessage"] as const),
  ];
  process.stdout.write(
    `${String(messages)} messages a round, ${String(ROOMS)} rooms, ${String(IN_FLIGHT)} in flight\n`,
  );
  process.stdout.write("                    median       min       max\n");
  for (const name of names) {
    const column = rounds.map((round) => round[name]).sort((a, b) => a - b);
    const digits = /^per|PerMessage$/.test(name) ? 2 : 0;
    const cells = [percentile(column, 0.5), column[0], column.at(-1)].map((value) =>
      (value ?? 0).toFixed(digits).padStart(10),
    );
    process.stdout.write(`${name.padEnd(16)}${cells.join("")}\n`);
  }
  process.stdout.write(
    `open loop at ${String(open.rate)}/s for ${String(open.seconds)} s: accepted to sent p50=${open.p50.toFixed(1)} ms p99=${open.p99.toFixed(1)} ms\n`,
  );
}

await runBench(NUMBERS, main);
