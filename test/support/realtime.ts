import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { migrateUp } from "../../migrations/index.ts";
import { endMemberships, upsertMembers } from "../../shared/db/memberships/memberships.ts";
import { openDb, type Db } from "../../shared/db/connection/open.ts";
import { findRoom, insertRoom, type Room } from "../../shared/db/rooms/rooms.ts";
import { createTenant, openTokenKeys, type Tenant } from "../../shared/db/tenants/tenants.ts";
import { Homeserver } from "../../shared/db/homeservers/homeservers.ts";
import { newId, randomToken } from "../../shared/platform/ids.ts";
import { createLog } from "../../shared/platform/log.ts";
import { parseRoomKey } from "../../shared/contract/names.ts";
import type { Role } from "../../shared/contract/roles.ts";
import { openRedis, waitForRedis, type Redis } from "../../shared/platform/redis.ts";
import { readTokensValidFrom, revokeUserTokens } from "../../shared/db/users/user-tokens.ts";
import { markUserDeleted, putUser } from "../../shared/db/users/users.ts";
import { appendEntries, type NewEntry } from "../../shared/timeline/append.ts";
import { publishUserEventOutbox } from "../../shared/timeline/publish-user-events.ts";
import { publishRooms } from "../../shared/timeline/publish.ts";
import { sendControlMessage } from "../../shared/timeline/user-stream.ts";
import { signUserToken, type TokenKeys } from "../../shared/auth/tokens.ts";
import type { TransportName } from "../../realtime/transport/transport.ts";
import { buildRealtime } from "./realtime-build.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
const SEAL_KEY = { id: "t", key: Buffer.alloc(32, 7) };
const log = createLog({ level: "silent", tier: "test" });

export type NodeOptions = {
  limits?: Record<string, number>;
  port?: number;
  isSharedPort?: boolean;
  transport?: TransportName;
  allowedOrigins?: string[];
  trustedProxies?: string[];
  redisUrl?: string;
  databaseUrl?: string;
  /** Hides standard error, for a start that must fail. */
  isQuiet?: boolean;
};

/** A realtime process of a test. */
export type RealtimeNode = {
  port: number;
  url: string;
  child: ChildProcess;
  /** The value of a metric's line, 0 when there is none. */
  metric: (line: string) => Promise<number>;
  stop: () => Promise<void>;
};

/** A database with one tenant, and functions that change it as the product does. */
export class World {
  readonly db: Db;
  readonly redis: Redis;
  readonly redisUrl: string;
  readonly databaseUrl: string;
  readonly tenant: Tenant;
  readonly #keys: TokenKeys;
  readonly #dist: string;
  readonly #closers: (() => Promise<unknown>)[];
  readonly #nodes = new Set<RealtimeNode>();
  readonly userIds = new Map<string, string>();

  constructor(parts: {
    db: Db;
    redis: Redis;
    urls: { redis: string; database: string };
    tenant: Tenant;
    keys: TokenKeys;
    dist: string;
    closers: (() => Promise<unknown>)[];
  }) {
    this.db = parts.db;
    this.redis = parts.redis;
    this.redisUrl = parts.urls.redis;
    this.databaseUrl = parts.urls.database;
    this.tenant = parts.tenant;
    this.#keys = parts.keys;
    this.#dist = parts.dist;
    this.#closers = parts.closers;
  }

  async token(user: string, { lifetimeS = 3_600, nowMs = Date.now() } = {}): Promise<string> {
    await this.user(user);
    const signed = await signUserToken(this.#keys, { tenant: this.tenant.slug, user }, { nowMs, lifetimeS });
    return signed.token;
  }

  /** A token as the api signs it, with the user's generation. */
  async ownToken(user: string): Promise<string> {
    const generation = await this.user(user);
    const nowMs = Date.now();
    const bounds = await readTokensValidFrom(this.db, [generation]);
    const times = { nowMs, validFromMs: bounds.get(generation)?.getTime() ?? 0, lifetimeS: 3_600 };
    return (await signUserToken(this.#keys, { tenant: this.tenant.slug, user, generation }, times)).token;
  }

  /** Revokes a user's tokens; `isPublished` false: the event stays in the outbox. */
  async revoke(user: string, { isPublished = true } = {}): Promise<void> {
    await revokeUserTokens(this.db, this.tenant.id, user, Date.now());
    if (isPublished) await publishUserEventOutbox(this, 100);
  }

  /** Deletes a user; the next use of the name makes another one. */
  async deleteUser(user: string): Promise<void> {
    await markUserDeleted(this.db, this.tenant.id, await this.user(user));
    this.userIds.delete(user);
  }

  /** Creates a user when it does not exist. Returns its row id. */
  async user(user: string): Promise<string> {
    const known = this.userIds.get(user);
    if (known) return known;
    const { id } = await putUser(this.db, this.tenant.id, user, { displayName: null, avatar: null });
    this.userIds.set(user, id);
    return id;
  }

  /** Creates a room with members. Returns its row. */
  async room(key: string, members: readonly string[]): Promise<Room> {
    const address = parseRoomKey(key);
    if (!address) throw new Error(`${key} is no room key`);
    const attributes = {
      name: key,
      topic: null,
      avatar: null,
      visibility: "private",
      join: "invite",
      posting: "everyone",
      slowModeS: 0,
    } as const;
    await insertRoom(this.db, this.tenant.id, address, attributes);
    const room = await findRoom(this.db, this.tenant.id, address);
    if (!room) throw new Error("the room was not made");
    const ids = await Promise.all(members.map((user) => this.user(user)));
    await this.#putMembers(room, ids, "member");
    return room;
  }

  #putMembers(room: Room, userIds: readonly string[], role: Role): Promise<void> {
    return upsertMembers(
      this.db,
      this.tenant.id,
      room.id,
      userIds.map((userId) => ({ userId, role })),
    );
  }

  /** A second tenant in the same database, with people and rooms of its own. */
  async otherTenant(): Promise<World> {
    const homeserver = await Homeserver.query(this.db).findOne({}).throwIfNotFound();
    const { tenant } = await createTenant(this.db, [SEAL_KEY], {
      slug: `other-${randomToken(4)}`,
      homeserver,
    });
    const urls = { redis: this.redisUrl, database: this.databaseUrl };
    const keys = openTokenKeys([SEAL_KEY], tenant);
    return new World({ db: this.db, redis: this.redis, urls, tenant, keys, dist: this.#dist, closers: [] });
  }

  /** Appends messages to a room's timeline without publishing them. */
  async append(room: Room, texts: readonly string[], sender = "ada"): Promise<void> {
    const senderId = await this.user(sender);
    const entries = texts.map((text): NewEntry => entry("message.created", senderId, { text }));
    await this.db.transaction((trx) => appendEntries(trx, [{ roomId: room.id, entries }]));
  }

  async say(room: Room, ...texts: string[]): Promise<void> {
    await this.append(room, texts);
    await this.publish(room);
  }

  async publish(room: Room): Promise<void> {
    await publishRooms(this, [room.id]);
  }

  /** Adds a user to a room, and sends a control message to the user's connections. */
  async add(room: Room, user: string): Promise<void> {
    const userId = await this.user(user);
    await this.#putMembers(room, [userId], "member");
    await this.#appendMember(this.db, room, userId, "member.joined");
    await this.publish(room);
    await sendControlMessage(this.redis, userId, { kind: "subscribe", roomId: room.id });
  }

  /**
   * Removes a user from a room without a control message. `hasEntry` false: the timeline has no entry of the removal;
   * `isPublished` false: its entry is not published.
   */
  async remove(room: Room, user: string, { hasEntry = true, isPublished = true } = {}): Promise<void> {
    const userId = await this.user(user);
    await this.db.transaction(async (trx) => {
      await endMemberships(trx, this.tenant.id, userId, [room.id]);
      if (hasEntry) await this.#appendMember(trx, room, userId, "member.left");
    });
    if (hasEntry && isPublished) await this.publish(room);
  }

  async #appendMember(
    db: Db,
    room: Room,
    userId: string,
    type: "member.joined" | "member.left",
  ): Promise<void> {
    const change = entry(type, userId, { role: "member", by: null });
    await db.transaction((trx) => appendEntries(trx, [{ roomId: room.id, entries: [change] }]));
  }

  /** Starts a realtime process. */
  async node(options: NodeOptions = {}): Promise<RealtimeNode> {
    const sealKey = { id: SEAL_KEY.id, base64: SEAL_KEY.key.toString("base64") };
    // The next process cannot listen at once on a port that the system chose.
    const port = options.port ?? (await findFreePort());
    const given = { databaseUrl: this.databaseUrl, redisUrl: this.redisUrl, sealKey, ...options, port };
    const child = fork(join(HERE, "realtime-child.mjs"), [this.#dist, JSON.stringify(given)], {
      execArgv: [],
      stdio: ["ignore", "inherit", options.isQuiet ? "ignore" : "inherit", "ipc"],
    });
    const exited = once(child, "exit");
    await Promise.race([
      once(child, "message"),
      exited.then(() => Promise.reject(new Error("the realtime process did not start"))),
    ]);
    const node: RealtimeNode = {
      port,
      child,
      url: `ws://127.0.0.1:${port}/connection/websocket`,
      metric: (line) => readMetric(port, line),
      stop: async () => {
        this.#nodes.delete(node);
        if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
        await exited;
      },
    };
    this.#nodes.add(node);
    return node;
  }

  async stopNodes(): Promise<void> {
    await Promise.all([...this.#nodes].map((node) => node.stop()));
  }

  async close(): Promise<void> {
    await this.stopNodes();
    for (const close of this.#closers) await close();
  }
}

function entry(type: NewEntry["type"], senderId: string, content: NewEntry["content"]): NewEntry {
  return {
    entryId: newId(),
    eventId: null,
    type,
    senderId,
    senderName: null,
    clientId: null,
    content,
    at: null,
  };
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address ? address.port : 0;
}

async function readMetric(port: number, line: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const found = text.split("\n").find((candidate) => candidate.startsWith(`${line} `));
  return Number(found?.slice(line.length + 1) ?? 0);
}

/** A new database and the given database number of the test Redis, emptied. */
export async function openWorld({ redisDatabase }: { redisDatabase: number }): Promise<World> {
  const admin = openDb({ url: requireEnv("TEST_DATABASE_URL"), name: "test-admin", max: 1 });
  const name = `realtime_${randomToken(8)}`;
  await admin.raw(`create database ${name}`);
  const database = withPath(requireEnv("TEST_DATABASE_URL"), name);
  const db = openDb({ url: database, name: "test" });
  await migrateUp(db);
  const url = withPath(requireEnv("TEST_REDIS_URL"), String(redisDatabase));
  const redis = openRedis(url, log, "test");
  await waitForRedis(redis, 5_000);
  await redis.flushdb();
  const build = await buildRealtime();
  const homeserver = await Homeserver.query(db).insertAndFetch({
    id: newId(),
    server_name: "test",
    base_url: "http://127.0.0.1:1",
    mode: "appservice",
    sealed_secrets: "",
  });
  const { tenant } = await createTenant(db, [SEAL_KEY], { slug: "demo", homeserver });
  const closers = [
    async () => {
      redis.disconnect();
    },
    () => db.destroy(),
    () => admin.raw(`drop database if exists ${name} with (force)`),
    () => admin.destroy(),
    build.remove,
  ];
  const keys = openTokenKeys([SEAL_KEY], tenant);
  return new World({ db, redis, urls: { redis: url, database }, tenant, keys, dist: build.dist, closers });
}

function requireEnv(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the tests with npm test`);
  return value;
}

function withPath(url: string, path: string): string {
  const changed = new URL(url);
  changed.pathname = `/${path}`;
  return changed.href;
}
