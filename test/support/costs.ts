import { Redis } from "ioredis";
import pg from "pg";

/** What a call costs: statements that Postgres gets, and commands that Redis gets. A script counts as one. */
export type Cost = { statements: number; commands: number };

/** Begin and commit travel with the statements between them. */
const FRAME = /^(?:begin|commit|rollback)/i;

/** Counts what this process sends to Postgres and Redis, over every connection, until `end`. */
function countCosts(): { cost: () => Cost; end: () => void } {
  const counted = { statements: 0, commands: 0 };
  // eslint-disable-next-line @typescript-eslint/unbound-method -- they are called with their objects
  const [send, query] = [Redis.prototype.sendCommand, pg.Client.prototype.query];
  Redis.prototype.sendCommand = function (this: Redis, ...args) {
    counted.commands++;
    return send.apply(this, args);
  };
  pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
    if (!FRAME.test(textOf(args[0]))) counted.statements++;
    return Reflect.apply(query, this, args) as never;
  };
  return {
    cost: () => ({ ...counted }),
    end: () => {
      Redis.prototype.sendCommand = send;
      pg.Client.prototype.query = query;
    },
  };
}

function textOf(query: unknown): string {
  if (typeof query === "string") return query;
  return typeof query === "object" && query !== null && "text" in query ? String(query.text) : "";
}

/** Between two looks at whether anything is still sent. */
const REST_MS = 15;

/**
 * The least cost of some runs of `work`, each with what `prepare` made, uncounted. What a process does by itself now and then (a
 * heartbeat, a probe) falls into one of them, and not into each. A run ends when nothing is sent any more.
 */
export async function leastCost<Given>(
  prepare: () => Promise<Given>,
  work: (given: Given) => Promise<unknown>,
  { runs = 4 }: { runs?: number } = {},
): Promise<Cost> {
  const costs: Cost[] = [];
  for (let run = 0; run < runs; run++) {
    const given = await prepare();
    const before = countCosts();
    await rest(before.cost);
    before.end();
    const counter = countCosts();
    try {
      await work(given);
      await rest(counter.cost);
    } finally {
      counter.end();
    }
    costs.push(counter.cost());
  }
  return {
    statements: Math.min(...costs.map(({ statements }) => statements)),
    commands: Math.min(...costs.map(({ commands }) => commands)),
  };
}

/** Resolves when two looks show the same. */
async function rest(look: () => Cost): Promise<void> {
  for (
    let [last, now] = ["", JSON.stringify(look())];
    last !== now;
    [last, now] = [now, JSON.stringify(look())]
  )
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
}
