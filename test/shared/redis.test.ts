import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { Redis } from "ioredis";
import { createLog } from "../../shared/platform/log.ts";
import { closeRedis, openRedis, waitForRedis } from "../../shared/platform/redis.ts";

const SOCKET_TIMEOUT_MS = 250;

let server: Server;
let connections: Socket[];
let redis: Redis;
beforeEach(async () => {
  connections = [];
  server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(async () => {
  closeRedis(redis);
  for (const socket of connections) socket.destroy();
  server.close();
  await once(server, "close");
});

/** A Redis that drops its first connection when a PING arrives there, and answers OK to every other command. */
function answer(socket: Socket): void {
  const isFirst = connections.push(socket) === 1;
  socket.on("error", () => undefined);
  socket.on("data", (data) => {
    const sent = data.toString();
    if (isFirst && /ping/i.test(sent)) socket.destroy();
    else socket.write("+OK\r\n".repeat(sent.match(/^\*\d+\r$/gm)?.length ?? 0));
  });
}

function url(): string {
  const address = server.address();
  return `redis://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
}

/**
 * Loses the first connection while a command waits on it, then uses the second one until the first one's socket timeout
 * is over. Returns how many connections it took.
 */
async function countConnections(): Promise<number> {
  redis.on("error", () => undefined);
  await waitForRedis(redis, 5_000);
  const lost = once(redis, "close");
  const sinceMs = performance.now();
  const dropped = redis.ping().catch(() => undefined);
  await lost;
  await waitForRedis(redis, 5_000);
  await dropped;
  while (performance.now() < sinceMs + 2 * SOCKET_TIMEOUT_MS) await redis.ping().catch(() => undefined);
  return connections.length;
}

test("the timeout of a lost connection to Redis does not break the next connection", async () => {
  const log = createLog({ level: "silent", tier: "test" });
  const first = openRedis(url(), log, "test");
  closeRedis(first);
  // A duplicate, as BullMQ makes them.
  redis = first.duplicate({ socketTimeout: SOCKET_TIMEOUT_MS, maxRetriesPerRequest: null });
  expect(await countConnections()).toBe(2);
});

test("ioredis itself still lets the timeout of a lost connection break the next one (redis/ioredis#2147)", async () => {
  redis = new Redis(url(), { socketTimeout: SOCKET_TIMEOUT_MS });
  if ((await countConnections()) > 2) return;
  throw new Error("This ioredis is mended: remove the class WatchedRedis from shared/platform/redis.ts.");
});
