import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import type { Redis } from "../../shared/platform/redis.ts";

/** Where a text stands: tables of Postgres by name, and `stream` or another type of key for Redis. Sorted, each once. */
export async function findText(db: Db, redis: Redis, text: string): Promise<string[]> {
  const tables = await rowsOf<{ name: string }>(
    db,
    "select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
    [],
  );
  const found = new Set<string>();
  for (const { name } of tables) {
    const { rows } = await db.raw<{ rows: unknown[] }>(
      `select 1 from "${name}" t where strpos(cast(t as text), ?) > 0 limit 1`,
      [text],
    );
    if (rows.length > 0) found.add(name);
  }
  for (const key of await redis.keys("*")) {
    const type = await redis.type(key);
    if (key.includes(text) || JSON.stringify(await readKey(redis, key, type)).includes(text)) found.add(type);
  }
  return [...found].sort();
}

function readKey(redis: Redis, key: string, type: string): Promise<unknown> {
  switch (type) {
    case "stream":
      return redis.xrange(key, "-", "+");
    case "hash":
      return redis.hgetall(key);
    case "list":
      return redis.lrange(key, 0, -1);
    case "set":
      return redis.smembers(key);
    case "zset":
      return redis.zrange(key, 0, -1);
    default:
      return redis.get(key);
  }
}
