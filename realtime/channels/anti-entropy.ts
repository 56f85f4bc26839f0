import { errorText } from "../../shared/contract/errors.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { CatchUp } from "./catch-up.ts";
import { USER_STATE_CLOSE } from "../protocol/codes.ts";
import type { Connection } from "../session/connection.ts";
import type { Hub } from "./hub.ts";
import type { ControlMessages } from "../policy/control-messages.ts";
import type { Policy, UserAccess } from "../policy/policy.ts";
import type { Streams } from "./streams.ts";
import type { StreamTop, Topic } from "./topic.ts";

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
const CATCH_UPS_AT_ONCE = 50;
/** After a check that failed: what comes back first asks for one that what comes back later is needed for. */
const RETRY_MS = 2_000;

/**
 * Compares, from time to time and whenever there is a doubt, what was delivered with what there is, and who is
 * subscribed with who may be: so a room in which nothing more happens becomes complete too, and a lost order counts.
 */
export class AntiEntropy {
  readonly #deps: AntiEntropyDeps;
  readonly #timer: NodeJS.Timeout;
  readonly #suspects = new Set<Topic>();
  #isRunning = false;
  #isReviewing = false;
  #isDue = false;
  readonly #retryMs: number;
  #retry: NodeJS.Timeout | null = null;
  #isStopped = false;

  constructor(deps: AntiEntropyDeps, intervalMs: number, retryMs = RETRY_MS) {
    this.#deps = deps;
    this.#retryMs = retryMs;
    this.#timer = setInterval(() => {
      this.request();
    }, intervalMs);
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
    if (this.#retry) clearTimeout(this.#retry);
  }

  /** Has everything checked now. */
  request(): void {
    this.#isDue = true;
    this.#start();
  }

  /** Has one topic checked now. */
  suspect(topic: Topic): void {
    this.#suspects.add(topic);
    this.#start();
  }

  #start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run().finally(() => {
      this.#isRunning = false;
      if (this.#isDue || this.#suspects.size > 0) this.#start();
    });
  }

  #startRights(): void {
    if (this.#isReviewing) return;
    this.#isReviewing = true;
    void this.#attempt(() => this.#checkRights()).finally(() => {
      this.#isReviewing = false;
    });
  }

  async #run(): Promise<void> {
    const isFull = this.#isDue;
    const topics = isFull ? [...this.#deps.hub.topics.values()] : [...this.#suspects];
    this.#isDue = false;
    this.#suspects.clear();
    await this.#attempt(() => this.#checkPositions(topics.filter(({ ref }) => ref.kind === "room")));
    await this.#attempt(() => this.#checkPositions(topics.filter(({ ref }) => ref.kind === "user")));
    // Who changed much is looked after for long: positions do not wait for that.
    if (isFull) this.#startRights();
  }

  /** What is not reachable is checked again a little later: nobody is disconnected for it. */
  async #attempt(check: () => Promise<void>): Promise<void> {
    try {
      await check();
    } catch (error) {
      this.#deps.log.warn({ reason: errorText(error) }, "checking positions failed");
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
      await this.#settle(batch, tops);
    }
  }

  async #settle(topics: readonly Topic[], tops: ReadonlyMap<string, StreamTop>): Promise<void> {
    const { hub, catchUp } = this.#deps;
    const behind: [Topic, number][] = [];
    for (const topic of topics) {
      const top = tops.get(topic.liveChannel);
      if (topic.epoch === null || !hub.has(topic) || !top) continue;
      if (top.epoch !== topic.epoch) hub.invalidate(topic, top);
      else if (top.number > topic.position) behind.push([topic, top.number]);
    }
    for (let start = 0; start < behind.length; start += CATCH_UPS_AT_ONCE) {
      await Promise.all(
        behind.slice(start, start + CATCH_UPS_AT_ONCE).map(([topic, number]) => catchUp.run(topic, number)),
      );
    }
  }

  async #checkRights(): Promise<void> {
    const { hub, policy } = this.#deps;
    const userIds = [...hub.users.keys()];
    for (let start = 0; start < userIds.length; start += USERS_AT_ONCE) {
      const batch = userIds.slice(start, start + USERS_AT_ONCE);
      const userAccess = await policy.userAccessOf(batch);
      for (const userId of batch) await this.#settleUser(userId, userAccess.get(userId));
    }
  }

  async #settleUser(userId: string, access: UserAccess | undefined): Promise<void> {
    const { hub, controlMessages } = this.#deps;
    const state = access?.state ?? "gone";
    for (const connection of [...(hub.users.get(userId) ?? [])]) {
      if (state !== "active") connection.close(USER_STATE_CLOSE[state]);
      else if (connection.state === "ready" && connection.membershipVersion !== access?.membershipVersion)
        await controlMessages.review(connection);
    }
  }
}
