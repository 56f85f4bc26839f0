import { errorText } from "../../shared/contract/errors.ts";
import { every, type Repeating } from "../../shared/platform/concurrency/every.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { CatchUp } from "./catch-up.ts";
import { REVOKED_CLOSE, USER_STATE_CLOSE } from "../protocol/codes.ts";
import type { Connection } from "../session/connection.ts";
import type { Hub } from "./hub.ts";
import type { ControlMessages } from "../policy/control-messages.ts";
import type { Policy, UserAccess } from "../policy/policy.ts";
import type { Streams } from "./streams.ts";
import type { StreamTop } from "./topic-ref.ts";
import type { Topic } from "./topic.ts";

export type AntiEntropyDeps = {
  hub: Pick<Hub<Connection>, "topics" | "users" | "has" | "invalidate">;
  streams: Pick<Streams, "tops">;
  catchUp: Pick<CatchUp, "run">;
  controlMessages: Pick<ControlMessages, "review">;
  policy: Pick<Policy, "userAccessOf">;
  log: Pick<Log, "warn">;
};

const TOPICS_AT_ONCE = 5_000;
const USERS_AT_ONCE = 1_000;
/** After a failed check: one connection to a server may be back before another that the check needs. */
const RETRY_MS = 2_000;

/**
 * Compares positions and rights with the source of truth, at an interval and on request. It completes a room that gets no
 * further entry or `sent`, and applies a control message that was lost.
 */
export class AntiEntropy {
  readonly #deps: AntiEntropyDeps;
  readonly #repeating: Repeating;
  readonly #suspects = new Set<Topic>();
  #isRunning = false;
  #isCheckingRights = false;
  #isDue = false;
  readonly #retryMs: number;
  #retry: NodeJS.Timeout | null = null;
  #isStopped = false;

  constructor(deps: AntiEntropyDeps, intervalMs: number, retryMs = RETRY_MS) {
    this.#deps = deps;
    this.#retryMs = retryMs;
    const request = () => {
      this.request();
    };
    this.#repeating = every(intervalMs, request, this.#warn);
  }

  stop(): void {
    this.#isStopped = true;
    void this.#repeating.stop();
    if (this.#retry) clearTimeout(this.#retry);
  }

  /** Starts a check of every topic and every user. */
  request(): void {
    this.#isDue = true;
    this.#start();
  }

  /** Starts a check of one topic. */
  suspect(topic: Topic): void {
    this.#suspects.add(topic);
    this.#start();
  }

  readonly #warn = (error: unknown): void => {
    this.#deps.log.warn({ reason: errorText(error) }, "an anti-entropy check failed");
  };

  #start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run().finally(() => {
      this.#isRunning = false;
      if (this.#isDue || this.#suspects.size > 0) this.#start();
    });
  }

  #startRights(): void {
    if (this.#isCheckingRights) return;
    this.#isCheckingRights = true;
    void this.#attempt(() => this.#checkRights()).finally(() => {
      this.#isCheckingRights = false;
    });
  }

  async #run(): Promise<void> {
    const isFull = this.#isDue;
    const topics = isFull ? [...this.#deps.hub.topics.values()] : [...this.#suspects];
    this.#isDue = false;
    this.#suspects.clear();
    await this.#attempt(() => this.#checkPositions(topics.filter(({ ref }) => ref.kind === "room")));
    await this.#attempt(() => this.#checkPositions(topics.filter(({ ref }) => ref.kind === "user")));
    // A review of many users lasts long: positions do not wait for it.
    if (isFull) this.#startRights();
  }

  /** Runs a check. After a failure another full check follows; no connection is closed. */
  async #attempt(check: () => Promise<void>): Promise<void> {
    try {
      await check();
    } catch (error) {
      this.#warn(error);
      if (this.#isStopped) return;
      this.#retry ??= setTimeout(() => {
        this.#retry = null;
        this.request();
      }, this.#retryMs);
    }
  }

  async #checkPositions(topics: readonly Topic[]): Promise<void> {
    for (let start = 0; start < topics.length; start += TOPICS_AT_ONCE) {
      const batch = topics.slice(start, start + TOPICS_AT_ONCE);
      const tops = await this.#deps.streams.tops(batch.map(({ ref }) => ref));
      await this.#repair(batch, tops);
    }
  }

  async #repair(topics: readonly Topic[], tops: ReadonlyMap<string, StreamTop>): Promise<void> {
    const { hub, catchUp } = this.#deps;
    await Promise.all(
      topics.map(async (topic) => {
        const top = tops.get(topic.liveChannel);
        if (topic.epoch === null || !hub.has(topic) || !top) return;
        topic.learnScrubs(top.epoch, top.scrubs);
        topic.learnMembers(top);
        if (top.epoch !== topic.epoch) hub.invalidate(topic, top);
        else if (top.number > topic.position) await catchUp.run(topic, top.number);
        topic.deliverSent(top);
      }),
    );
  }

  async #checkRights(): Promise<void> {
    const { hub, policy } = this.#deps;
    const userIds = [...hub.users.keys()];
    for (let start = 0; start < userIds.length; start += USERS_AT_ONCE) {
      const batch = userIds.slice(start, start + USERS_AT_ONCE);
      const userAccess = await policy.userAccessOf(batch);
      for (const userId of batch) await this.#applyAccess(userId, userAccess.get(userId));
    }
  }

  async #applyAccess(userId: string, access: UserAccess | undefined): Promise<void> {
    const { hub, controlMessages } = this.#deps;
    const state = access?.state ?? "gone";
    for (const connection of [...(hub.users.get(userId) ?? [])]) {
      if (state !== "active") connection.close(USER_STATE_CLOSE[state]);
      else if (!connection.hasTokenSince(access?.tokensValidFromMs ?? 0)) connection.close(REVOKED_CLOSE);
      else if (connection.state === "ready" && connection.membershipVersion !== access?.membershipVersion)
        await controlMessages.review(connection);
    }
  }
}
