import { openDb, rowsOf } from "../../shared/db/connection/open.ts";
import { createLog } from "../../shared/platform/log.ts";
import { openRedis } from "../../shared/platform/redis.ts";

/** Bytes as they lie in the servers now: tables with their indexes, and what no vacuum has given back. */
export type Sizes = { ours: number; synapse: number | null; redis: number };

export type Scales = { weigh: () => Promise<Sizes>; close: () => Promise<void> };

/** `databaseUrl`: ours; Synapse's data is looked for beside it, and is null where it is kept elsewhere. */
export function openScales({ databaseUrl, redisUrl }: { databaseUrl: string; redisUrl: string }): Scales {
  const db = openDb({ url: databaseUrl, name: "bench", max: 1 });
  const redis = openRedis(redisUrl, createLog({ level: "silent", tier: "bench" }), "bench");
  return {
    weigh: async () => {
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
