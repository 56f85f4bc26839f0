import { afterEach, expect, test } from "@jest/globals";
import type { TierProcess } from "./environment/processes.ts";
import { migrateUp } from "../../migrations/index.ts";
import { openDb } from "../../shared/db/connection/open.ts";
import { withPath } from "../support/db.ts";
import { openSilentRedis, type SilentRedis } from "./environment/silent-redis.ts";
import { useEnvironment } from "./environment/use-environment.ts";
import { until } from "../support/wait.ts";

const faults = useEnvironment({ counts: { workers: 2 } });

/** A program that imports this module loops for ever on SIGUSR2. */
const HANG_ON_SIGNAL = `--import=data:text/javascript,${encodeURIComponent(
  "process.on('SIGUSR2', function hangForEver() { for (let count = 0; ; count++) Math.sqrt(count); })",
)}`;
const NOTICED_WITHIN_MS = 120_000;

let deaf: SilentRedis | null = null;
afterEach(async () => {
  await deaf?.close();
  deaf = null;
});

/** The fatal lines of a process's log. */
function fatalLines({ lines }: TierProcess): Record<string, unknown>[] {
  return lines
    .filter((line) => line.startsWith('{"level":60'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** The pids of a realtime process's listeners since its last start. */
function listening({ lines }: TierProcess): number[] {
  return lines
    .slice(lines.findLastIndex((line) => line.includes('"msg":"realtime processes started"')) + 1)
    .filter((line) => line.includes('"msg":"listening"'))
    .map((line) => (JSON.parse(line) as { pid: number }).pid);
}

/** Runs a process on an empty database and a Redis of its own. */
async function isolate(process: TierProcess): Promise<void> {
  const { databaseUrl, redisUrl } = faults.environment.servers;
  await faults.environment.db.raw("create database idle");
  const url = withPath(databaseUrl, "idle");
  const db = openDb({ url, name: "faults", max: 2 });
  await migrateUp(db);
  await db.destroy();
  await process.stop();
  await process.start({ DATABASE_URL: url, REDIS_URL: withPath(redisUrl, "1") });
}

test("a jobs process whose Redis connections receive nothing ends with a reason, and the next one delivers everything", async () => {
  const [victim, idle] = faults.environment.of("workers") as [TierProcess, TierProcess];
  const load = await faults.openLoad({ name: "deaf", rooms: 3, people: 3 });
  await isolate(idle);
  const idlePid = idle.pid;
  deaf = await openSilentRedis(faults.environment.servers.redisUrl);
  await victim.stop();
  await victim.start({ REDIS_URL: deaf.url });
  for (const room of load.rooms) await load.post(room, load.members.get(room)?.[0] ?? "");
  await faults.expectKept(load, 60_000);

  // Only the connections of the workers are silenced; the one for commands works.
  const { silenced, silence } = deaf;
  silence(/omc-workers|bzpopmin/i);
  await until(() => silenced() > 0, "connections are silent");
  const sinceMs = performance.now();
  for (let said = 0; said < 5; said++) {
    for (const room of load.rooms) await load.post(room, load.members.get(room)?.[0] ?? "");
  }
  await until(() => victim.ends.length > 0, "the process ended", NOTICED_WITHIN_MS);
  faults.report("until a jobs process that takes nothing up ends", performance.now() - sinceMs);
  expect(victim.ends).toEqual([{ code: 1, signal: null }]);
  expect(fatalLines(victim)).toEqual([
    expect.objectContaining({
      tier: "jobs",
      queue: expect.any(String),
      msg: expect.stringContaining("takes no job up"),
    }),
  ]);

  await faults.expectKept(load, 60_000);
  expect([idle.pid, idle.ends]).toEqual([idlePid, []]);
}, 240_000);

test("a process of any tier whose event loop hangs is ended with the place in its log, and delivery goes on", async () => {
  const load = await faults.openLoad({ name: "hung", rooms: 2, people: 2 });
  const [api, workers, sync, realtime] = [
    ...faults.environment.of("api"),
    ...faults.environment.of("workers").slice(0, 1),
    ...faults.environment.of("sync"),
    ...faults.environment.of("realtime"),
  ] as [TierProcess, TierProcess, TierProcess, TierProcess];
  const alone = [api, workers, sync];
  for (const process of alone) {
    await process.stop();
    await process.start({ NODE_OPTIONS: HANG_ON_SIGNAL });
  }
  await realtime.stop();
  await realtime.start({ NODE_OPTIONS: HANG_ON_SIGNAL, REALTIME_PROCESSES: "2" });
  await until(() => listening(realtime).length === 2, "both sockets' processes listen", 30_000);
  const endsBefore = alone.map(({ ends }) => ends.length);

  const sinceMs = performance.now();
  for (const process of alone) process.signal("SIGUSR2");
  const [child = 0] = listening(realtime);
  process.kill(child, "SIGUSR2");
  const isNoticed = () =>
    alone.every(({ ends }, index) => ends.length > (endsBefore[index] ?? 0)) &&
    realtime.lines.some((line) => line.includes("a realtime process ended"));
  await until(isNoticed, "all have ended", NOTICED_WITHIN_MS);
  faults.report("until processes whose event loop hangs have ended", performance.now() - sinceMs);
  for (const process of [...alone, realtime]) {
    expect(fatalLines(process).at(-1)).toMatchObject({
      msg: expect.stringContaining("the event loop hangs"),
      where: expect.arrayContaining([expect.stringContaining("hangForEver")]),
    });
  }
  expect(alone.map(({ ends }) => ends.at(-1))).toEqual(alone.map(() => ({ code: null, signal: "SIGKILL" })));
  expect([fatalLines(realtime).at(-1)?.["pid"], realtime.ends]).toEqual([child, []]);

  await Promise.all(alone.map((process) => process.ready()));
  for (const room of load.rooms) await load.post(room, load.members.get(room)?.[0] ?? "");
  await faults.expectKept(load, 60_000);
}, 240_000);
