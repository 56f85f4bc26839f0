import type { ActContent } from "../../shared/contract/content/acts.ts";
import type { ActAcceptance } from "../../shared/db/acts/accept-acts.ts";
import type { Content } from "../../shared/contract/content/index.ts";
import { acceptAll, acceptMessages, type Written } from "../../shared/db/messages/accept/accept-messages.ts";
import type { MessageRow } from "../../shared/db/messages/messages.ts";
import { ensureHomeserver } from "../../shared/db/homeservers/homeservers.ts";
import { upsertMembers } from "../../shared/db/memberships/memberships.ts";
import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { findRoom, insertRoom, type Room } from "../../shared/db/rooms/rooms.ts";
import { createTenant } from "../../shared/db/tenants/tenants.ts";
import { ensureUsers } from "../../shared/db/users/users.ts";
import { newId } from "../../shared/platform/ids.ts";
import type { JobName } from "../../shared/queues/index.ts";
import { createLog } from "../../shared/platform/log.ts";
import { createMetrics } from "../../shared/platform/metrics.ts";
import { parseRoomKey } from "../../shared/contract/names.ts";
import type { Role } from "../../shared/contract/roles.ts";
import { closeQueues, openQueues, type Queues } from "../../shared/queues/open.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { NewEntry } from "../../shared/timeline/append.ts";
import type { WorkerContext } from "../../workers/runtime/context.ts";
import type { Homeserver } from "../../workers/matrix/homeserver/homeserver.ts";
import { createWorkerMetrics } from "../../workers/runtime/metrics.ts";
import { createNewRoomVersion } from "../../workers/matrix/homeserver/room-versions.ts";
import { createAdaptiveBatchSize } from "../../workers/outbound/adaptive-batch-size.ts";
import { createRecentSends } from "../../workers/outbound/recent-sends.ts";
import { openTestDatabase, type TestDatabase } from "./db.ts";
import { openOwnRedis, type OwnRedis } from "./stack-servers.ts";

export const SEAL_KEYS = [{ id: "t", key: Buffer.alloc(32, 3) }];

/** The context of worker code on real Postgres and Redis: one tenant, and the rooms that a test makes. */
export class Workplace {
  readonly db: Db;
  readonly redis: Redis;
  readonly redisUrl: string;
  readonly tenantId: string;
  readonly queues: Queues;
  /** Requested wake-ups, newest last. They reach no queue. */
  readonly wakes: { name: JobName; payload: unknown }[] = [];
  /** Rooms of which it is to be published how far Matrix has them. */
  readonly sent = new Set<string>();
  readonly log = createLog({ level: "silent", tier: "test" });
  readonly #database: TestDatabase;
  readonly #redis: OwnRedis;

  constructor(database: TestDatabase, redis: OwnRedis, tenantId: string) {
    this.#database = database;
    this.#redis = redis;
    this.db = database.db;
    this.redis = redis.redis;
    this.redisUrl = redis.url;
    this.tenantId = tenantId;
    this.queues = openQueues(redis.redis, this.log);
  }

  /** A worker's context, with the test's homeserver. */
  context(homeserver?: Homeserver): WorkerContext {
    return {
      db: this.db,
      redis: this.redis,
      wake: (name, payload) => {
        this.wakes.push({ name, payload });
        return Promise.resolve(true);
      },
      homeserver: () =>
        homeserver ? Promise.resolve(homeserver) : Promise.reject(new Error("no homeserver here")),
      newRoomVersion: createNewRoomVersion(),
      consumers: [],
      metrics: createWorkerMetrics(createMetrics()),
      log: this.log,
      stopping: new AbortController().signal,
      chance: () => 0.5,
      readsStream: false,
      isContended: () => false,
      outboundBatchSize: createAdaptiveBatchSize(),
      recentSends: createRecentSends(),
      sent: {
        add: (roomIds) => {
          for (const roomId of roomIds) this.sent.add(roomId);
        },
      },
      hitFailpoint: () => undefined,
    };
  }

  /** Creates a room with members, without Matrix. */
  async room(key: string, members: readonly string[] = [], role: Role = "member"): Promise<Room> {
    const address = parseRoomKey(key);
    if (!address) throw new Error(`${key} is no room's key`);
    const attributes = {
      name: key,
      topic: null,
      avatar: null,
      visibility: "private",
      join: "invite",
      posting: "everyone",
      slowModeS: 0,
    } as const;
    await insertRoom(this.db, this.tenantId, address, attributes);
    const room = await findRoom(this.db, this.tenantId, address);
    if (!room) throw new Error("the room was not made");
    const users = await ensureUsers(this.db, this.tenantId, members);
    const wanted = [...users.values()].map(({ id }) => ({ userId: id, role }));
    if (wanted.length > 0) await upsertMembers(this.db, this.tenantId, room.id, wanted);
    return room;
  }

  async userId(user: string): Promise<string> {
    const id = (await ensureUsers(this.db, this.tenantId, [user])).get(user)?.id;
    if (id === undefined) throw new Error(`${user} was not made`);
    return id;
  }

  /** Accepts a message of each text, in order. */
  accept(room: Room, user: string, ...texts: string[]): Promise<MessageRow[]> {
    return this.acceptContent(room, user, ...textsOf(texts));
  }

  /** Accepts messages, in order. */
  async acceptContent(room: Room, user: string, ...contents: Content[]): Promise<MessageRow[]> {
    return (await this.#offer(room, user, contents)).map((acceptance) => {
      if (!("message" in acceptance)) throw new Error(`not accepted: ${acceptance.outcome}`);
      return acceptance.message;
    });
  }

  /** What becomes of a message of each text, in order. */
  tryAccept(room: Room, user: string, ...texts: string[]): Promise<Written[]> {
    return this.#offer(room, user, textsOf(texts));
  }

  #offer(room: Room, user: string, contents: readonly Content[]): Promise<Written[]> {
    const { kind, slug } = room;
    const wanted = contents.map((content) => ({
      tenantId: this.tenantId,
      user,
      room: { kind, slug },
      content,
      clientId: null,
      requestHash: null,
      stamp: null,
    }));
    return acceptMessages(this.db, wanted);
  }

  /** Accepts an act of a user on a message. */
  async act(room: Room, user: string, target: string, act: ActContent): Promise<ActAcceptance> {
    const { kind, slug } = room;
    const request = { user, target, act, clientId: null, requestHash: null, stamp: null };
    const [outcome] = await acceptAll(this.db, [
      { ...request, tenantId: this.tenantId, room: { kind, slug } },
    ]);
    if (!outcome || outcome.outcome === "room_locked" || "message" in outcome)
      throw new Error(`not accepted: ${outcome?.outcome ?? "nothing"}`);
    return outcome as ActAcceptance;
  }

  sql<Row>(text: string, bindings: readonly unknown[] = []): Promise<Row[]> {
    return rowsOf<Row>(this.db, text, bindings);
  }

  async close(): Promise<void> {
    await closeQueues(this.queues);
    await this.#redis.remove();
    await this.#database.close();
  }
}

function textsOf(texts: readonly string[]): Content[] {
  return texts.map((text) => ({ kind: "text", text }));
}

/** `serverName`: of the homeserver, in the Matrix ids of its people. */
export async function openWorkplace({ serverName = "test" } = {}): Promise<Workplace> {
  const database = await openTestDatabase();
  const redis = await openOwnRedis();
  const homeserver = await ensureHomeserver(database.db, SEAL_KEYS, {
    baseUrl: "http://127.0.0.1:9",
    serverName,
    mode: "appservice",
    asToken: "an application service's token",
    registrationSecret: null,
  });
  const { tenant } = await createTenant(database.db, SEAL_KEYS, { slug: "acme", homeserver });
  return new Workplace(database, redis, tenant.id);
}

/** An entry of an unknown user; a new event each time by default. */
export function externalEntry(text: string, { entryId = newId(), eventId = `$${newId()}` } = {}): NewEntry {
  return {
    entryId,
    eventId,
    type: "message.created",
    senderId: null,
    senderName: "Somebody",
    clientId: null,
    content: { text },
    at: null,
  };
}
