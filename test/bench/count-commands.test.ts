import { expect, test } from "@jest/globals";
import { countRedisCommands } from "../../bench/pipeline/count-commands.ts";
import { waitForRedis } from "../../shared/platform/redis.ts";
import { openOwnRedis } from "../support/stack-servers.ts";

test("the counter counts the commands of every connection to Redis, and a script as one", async () => {
  const { redis, remove } = await openOwnRedis();
  const count = countRedisCommands();
  const sentBy = async (work: () => Promise<unknown>): Promise<number> => {
    const before = count();
    await work();
    return count() - before;
  };
  const other = redis.duplicate();
  try {
    await waitForRedis(other, 30_000);
    expect(await sentBy(() => other.ping())).toBe(1);
    expect(await sentBy(() => redis.set("a", "1"))).toBe(1);
    expect(await sentBy(() => redis.pipeline().incr("a").incr("a").get("a").exec())).toBe(3);
    expect(await sentBy(() => redis.eval("redis.call('incr', 'a') return redis.call('get', 'a')", 0))).toBe(
      1,
    );
    expect(await redis.get("a")).toBe("4");
  } finally {
    other.disconnect();
    await remove();
  }
});
