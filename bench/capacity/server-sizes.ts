import { openDb, rowsOf } from "../../shared/db/connection/open.ts";
import { createLog } from "../../shared/platform/log.ts";
import { openRedis } from "../../shared/platform/redis.ts";

/** Bytes in the servers now: tables with their indexes, and space that no vacuum has returned. */
export type ServerSizes = { ours: number; synapse: number | null; redis: number };

export type SizeReader = { read: () => Promise<ServerSizes>; close: () => Promise<void> };

/** `databaseUrl` is our database. Synapse's size is null when its database is not on the same server. */
export function openSizeReader({
  databaseUrl,
  redisUrl,
}: {
  databaseUrl: string;
  redisUrl: string;
}): SizeReader {
  const db = openDb({ url: databaseUrl, name: "bench", max: 1 });
  const redis = openRedis(redisUrl, createLog({ level: "silent", tier: "bench" }), "bench");
  return {
    read: async () => {
      const [row] = await rowsOf<{ ours: string; synapse: string | null }>(
        db,
        `select pg_database_size(current_database())::text as ours,
                (select pg_database_size(datname)::text from pg_database where datname = 'synapse') as synapse`,
        [],
      );
      const memory = /^used_memory:(\d+)/m.exec(await redis.info("memory"))?.[1];
      return {
        ours: Number(row?.ours),
        synapse: typeof row?.synapse === "string" ? Number(row.synapse) : null,
        redis: Number(memory),
      };
    },
    close: async () => {
      redis.disconnect();
      await db.destroy();
    },
  };
}
