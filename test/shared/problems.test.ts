import { expect, test } from "@jest/globals";
import { createLog, type Log } from "../../shared/platform/log.ts";
import { keepSince, watchProblems, type FoundProblem } from "../../shared/platform/problems/problems.ts";
import {
  createRedisCheck,
  parseMemory,
  problemOfWrite,
  problemsOfMemory,
} from "../../shared/platform/problems/redis-problems.ts";
import { closeRedis, openRedis, waitForRedis } from "../../shared/platform/redis.ts";
import { requireEnv } from "../support/db.ts";
import { until } from "../support/wait.ts";

test.each([
  ["READONLY You can't write against a read only replica.", "redis_read_only"],
  ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "redis_read_only"],
  ["MISCONF Valkey is configured to save RDB snapshots, but …", "redis_read_only"],
  ["NOREPLICAS Not enough good replicas to write.", "redis_read_only"],
  ["OOM command not allowed when used memory > 'maxmemory'.", "redis_full"],
  ["LOADING Valkey is loading the dataset in memory", "redis_down"],
  ["NOAUTH Authentication required.", "redis_down"],
  ["NOPERM User x has no permissions to run the 'set' command", "redis_down"],
  ["Command timed out", "redis_down"],
  ["Stream isn't writeable and enableOfflineQueue options is false", "redis_down"],
])("a write that fails with %p shows %s", (message, code) => {
  expect(problemOfWrite(new Error(message))).toMatchObject({ code, severity: "critical" });
});

test.each([
  [{ used: 89, max: 100, policy: "noeviction" }, false, []],
  [{ used: 90, max: 100, policy: "noeviction" }, false, ["redis_full"]],
  [{ used: 80, max: 100, policy: "noeviction" }, true, ["redis_full"]],
  [{ used: 79, max: 100, policy: "noeviction" }, true, []],
  [{ used: 900, max: 0, policy: "noeviction" }, false, []],
  [{ used: 1, max: 100, policy: "allkeys-lru" }, false, ["redis_policy"]],
  [{ used: null, max: null, policy: null }, false, []],
])("a Redis with %p, full before: %p, has the problems %p", (memory, wasFull, codes) => {
  expect(problemsOfMemory(memory, wasFull).map(({ code }) => code)).toEqual(codes);
});

test("the memory of a real Redis is read", async () => {
  const log = createLog({ level: "silent", tier: "test" });
  const redis = openRedis(requireEnv("TEST_REDIS_URL"), log, "problems");
  await waitForRedis(redis, 5_000);
  const memory = parseMemory(await redis.info("memory"));
  expect(memory).toEqual({ used: expect.any(Number), max: expect.any(Number), policy: "noeviction" });
  expect(await createRedisCheck(redis)()).toEqual([]);
  closeRedis(redis);
  expect(await createRedisCheck(redis)()).toMatchObject([{ code: "redis_down" }]);
});

test("a problem keeps its time while it stands, and the finder's time comes first", () => {
  const down = { code: "redis_down", severity: "critical", detail: "a" } as const;
  const [first] = keepSince([], [down], 1_000);
  expect(first).toEqual({ ...down, since: "1970-01-01T00:00:01.000Z" });
  expect(keepSince(first ? [first] : [], [{ ...down, detail: "b" }], 9_000)).toEqual([
    { ...down, detail: "b", since: "1970-01-01T00:00:01.000Z" },
  ]);
  expect(keepSince([], [{ ...down, since: new Date(5_000) }], 9_000)[0]?.since).toBe(
    "1970-01-01T00:00:05.000Z",
  );
});

test("many readers at once cost one look, and each sees it", async () => {
  let looks = 0;
  const found: FoundProblem[] = [{ code: "redis_down", severity: "critical", detail: "gone" }];
  const watch = watchProblems({
    look: () => {
      looks++;
      return Promise.resolve(found);
    },
    log: createLog({ level: "silent", tier: "test" }),
  });
  const read = await Promise.all(Array.from({ length: 20 }, () => watch.read()));
  await watch.stop();
  expect(new Set(read.map((problems) => problems[0]?.code))).toEqual(new Set(["redis_down"]));
  expect(looks).toBe(1);
});

test("a problem is logged when it begins, becomes worse, and ends, and not at each look", async () => {
  const lines: string[] = [];
  const write = (level: string) => (_fields: unknown, text?: string) => lines.push(`${level} ${text ?? ""}`);
  const found: FoundProblem[] = [];
  let looks = 0;
  const watch = watchProblems({
    look: () => {
      looks++;
      return Promise.resolve([...found]);
    },
    log: { warn: write("warn"), info: write("info"), error: write("error") } as unknown as Log,
  });
  const lookAgain = async () => {
    const before = looks;
    await until(async () => {
      await watch.read();
      return looks > before;
    }, "it looks again");
  };
  for (const severity of ["warning", "warning", "critical", "critical", "warning"] as const) {
    found.splice(0, 1, { code: "redis_full", severity, detail: "full" });
    await lookAgain();
  }
  found.length = 0;
  await lookAgain();
  await watch.stop();
  expect(lines).toEqual(["warn degraded", "warn degraded", "info not degraded any more"]);
});
