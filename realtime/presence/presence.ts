import { BIG_ROOM_MEMBERS } from "../../shared/contract/big-room.ts";
import { errorText } from "../../shared/contract/errors.ts";
import { every, type Repeating } from "../../shared/platform/concurrency/every.ts";
import { newFence } from "../../shared/platform/ids.ts";
import type { Log } from "../../shared/platform/log.ts";
import { roomLiveChannel } from "../../shared/platform/redis-keys.ts";
import { runScripts, type ScriptCall } from "../../shared/platform/redis-script.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import {
  endPresence,
  PRESENCE_KEPT_MS,
  presenceCall,
  readPresenceReply,
  renewPresence,
} from "../../shared/timeline/signs/presence.ts";
import type { Hub } from "../channels/hub.ts";
import type { Limits } from "../limits.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import type { Connection } from "../session/connection.ts";
import { userNameOf, type PresenceChanges, type RoomChange } from "./presence-changes.ts";

export type PresenceDeps = {
  hub: Pick<Hub<Connection>, "topics" | "users">;
  changes: PresenceChanges;
  redis: Redis;
  metrics: Pick<RealtimeMetrics, "presenceUpdates">;
  limits: Pick<Limits, "presenceMs" | "presenceInBigRoomMs" | "presenceLeaseMs">;
  log: Pick<Log, "warn">;
};

const TICK_MS = 1_000;
/** Rooms of one tick, and of one round trip to Redis. */
const ROOMS_AT_MOST = 2_000;
const ROOMS_AT_ONCE = 500;
const SAY_AGAIN_MS = PRESENCE_KEPT_MS / 3;

/**
 * Says to Redis who is present in which rooms by a socket of this process, once a second, in pipelines: one command for each room
 * where somebody came or went, none for the others. Redis adds the processes up and publishes. One command every few seconds renews
 * the lease of this process: when a process is killed, its people go with its lease, and the others publish that.
 *
 * A process whose lease has ended begins under a new name and says everything again.
 */
export class Presence {
  readonly #deps: PresenceDeps;
  readonly #repeating: Repeating;
  #process = newFence();
  #others: ReadonlySet<string> = new Set();
  #isLeased = false;
  #renewedAtMs = 0;
  /** When each room with people of this process was said as a whole; the one longest ago comes first. */
  readonly #said = new Map<string, number>();
  #isWarned = false;

  constructor(deps: PresenceDeps) {
    this.#deps = deps;
    const everyMs = Math.min(TICK_MS, deps.limits.presenceLeaseMs / 3);
    this.#repeating = every(
      everyMs,
      () => this.#tick(Date.now()),
      (error) => {
        if (!this.#isWarned) deps.log.warn({ reason: errorText(error) }, "saying who is present failed");
        this.#isWarned = true;
      },
    );
  }

  async stop(): Promise<void> {
    await this.#repeating.stop();
    await endPresence(this.#deps.redis, this.#process).catch(() => undefined);
  }

  async #tick(nowMs: number): Promise<void> {
    const { changes, hub, limits } = this.#deps;
    // Everything is said again after that: what is noted meanwhile of rooms that nobody follows would only grow.
    if (nowMs - this.#renewedAtMs > limits.presenceLeaseMs)
      changes.keep((id) => hub.topics.has(roomLiveChannel(id)));
    if (nowMs - this.#renewedAtMs >= limits.presenceLeaseMs / 3) await this.#renew(nowMs);
    this.#noteOld(nowMs);
    const due = changes.take(nowMs, ROOMS_AT_MOST);
    for (let start = 0; start < due.length; start += ROOMS_AT_ONCE)
      await this.#say(due.slice(start, start + ROOMS_AT_ONCE), nowMs).catch((error: unknown) => {
        for (const change of due.slice(start)) changes.putBack({ ...change, users: null }, nowMs);
        throw error;
      });
    this.#isWarned = false;
  }

  async #renew(nowMs: number): Promise<void> {
    const { redis, changes, hub, limits } = this.#deps;
    const leaseMs = limits.presenceLeaseMs;
    let living = this.#isLeased
      ? await renewPresence(redis, { process: this.#process, leaseMs, isNew: false })
      : null;
    if (living === null) {
      this.#isLeased = false;
      this.#process = newFence();
      living = (await renewPresence(redis, { process: this.#process, leaseMs, isNew: true })) ?? [];
      this.#isLeased = true;
      this.#said.clear();
      for (const topic of hub.topics.values()) if (topic.ref.kind === "room") changes.noteWhole(topic);
    }
    const isSomeGone = [...this.#others].some((process) => !living.includes(process));
    if (isSomeGone)
      for (const topic of hub.topics.values()) if (topic.ref.kind === "room") changes.noteOthers(topic);
    this.#others = new Set(living);
    this.#renewedAtMs = nowMs;
  }

  /** Notes the rooms that Redis would forget. */
  #noteOld(nowMs: number): void {
    for (const [roomId, saidAtMs] of this.#said) {
      if (nowMs - saidAtMs < SAY_AGAIN_MS) return;
      this.#said.delete(roomId);
      const topic = this.#deps.hub.topics.get(roomLiveChannel(roomId));
      if (topic) this.#deps.changes.noteWhole(topic);
    }
  }

  async #say(due: readonly RoomChange[], nowMs: number): Promise<void> {
    const { redis, changes, metrics, limits } = this.#deps;
    const replies = await runScripts(
      redis,
      due.map((change) => this.#toCall(change, nowMs)),
    );
    metrics.presenceUpdates(due.length);
    for (const [index, change] of due.entries()) {
      const reply = readPresenceReply(replies[index]);
      if (reply === "lost") {
        this.#said.delete(change.ref.id);
        changes.putBack({ ...change, users: null }, nowMs);
      } else if (reply.waitMs > 0)
        changes.putBack({ ...change, users: new Map() }, nowMs + Math.min(reply.waitMs, limits.presenceMs));
    }
  }

  #toCall({ ref, members, users }: RoomChange, nowMs: number): ScriptCall {
    const { hub, limits } = this.#deps;
    const topic = hub.topics.get(roomLiveChannel(ref.id));
    const subscribers = topic?.subscribers ?? new Set();
    const isPresent = (userId: string) =>
      [...(hub.users.get(userId) ?? [])].some((connection) => subscribers.has(connection));
    const isWhole = users === null || !this.#said.has(ref.id) || subscribers.size === 0;
    const came = isWhole
      ? [...new Set([...(topic?.subscribers ?? [])].flatMap(({ userId }) => this.#nameOf(userId)))]
      : [...users].flatMap(([id, name]) => (isPresent(id) ? [name] : []));
    const went = isWhole ? [] : [...users.values()].filter((name) => !came.includes(name));
    if (isWhole) this.#said.delete(ref.id);
    if (isWhole && came.length > 0) this.#said.set(ref.id, nowMs);
    const isBig = members > BIG_ROOM_MEMBERS;
    return presenceCall({
      ...{
        process: this.#process,
        room: { id: ref.id, channel: (topic?.ref ?? ref).channel, members },
        isWhole,
        came,
        went,
      },
      minIntervalMs: isBig ? limits.presenceInBigRoomMs : limits.presenceMs,
    });
  }

  #nameOf(userId: string | null): string[] {
    const [connection] = this.#deps.hub.users.get(userId ?? "") ?? [];
    return connection?.identity ? [userNameOf(connection.identity.userRef)] : [];
  }
}
