import { AppError, errorText } from "../../shared/contract/errors.ts";
import { every, type Repeating } from "../../shared/platform/concurrency/every.ts";
import { newFence } from "../../shared/platform/ids.ts";
import type { Log } from "../../shared/platform/log.ts";
import { tenantSocketsKey, userSocketsKey } from "../../shared/platform/redis-keys.ts";
import { runScripts, type ScriptCall } from "../../shared/platform/redis-script.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import { groupBy, inBatches } from "./group.ts";
import { countCall, LEASE_MS, readCount, readOver, removeCall, userCall } from "./counts.ts";

/** A socket that connects, and the limits of its user and of its tenant. */
export type Applicant = {
  connectionId: string;
  userId: string;
  tenantId: string;
  userSockets: number;
  tenantSockets: number;
  /** Closes the socket when it is the oldest of a user over the limit. It may still be connecting. */
  close: () => void;
};

export type SocketQuotasDeps = {
  redis: Redis;
  /** Closes a socket of a user in another process. */
  closeElsewhere: (userId: string, connectionId: string) => void;
  onOver: (quota: "user" | "tenant") => void;
  log: Log;
  /** How long the counts of a process that has ended still count. */
  leaseMs?: number;
};

type Request = { applicant: Applicant; settle: (isGranted: boolean) => void };
/** `unconfirmed`: sockets of this process that are counted here and not yet in Redis. */
type TenantCount = {
  own: number;
  unconfirmed: number;
  limit: number;
  isChanged: boolean;
  renewedAtMs: number;
};
type UserSockets = { connections: Set<string>; limit: number; renewedAtMs: number };

const TICK_MS = 1_000;
const CALLS_AT_ONCE = 500;

/**
 * How many sockets users and tenants have, over all processes. The counts of this process are its own; Redis has the sum,
 * asked in one round trip for all connects of a turn of the event loop. Each count in Redis has a lease, so that those of a
 * killed process end with it. Without Redis each process applies the limits to its own sockets.
 */
export class SocketQuotas {
  readonly #deps: SocketQuotasDeps;
  readonly #leaseMs: number;
  readonly #process = newFence();
  readonly #places = new Map<string, Applicant>();
  readonly #tenants = new Map<string, TenantCount>();
  /** Those that were renewed longest ago come first. */
  readonly #users = new Map<string, UserSockets>();
  readonly #departed = new Map<string, string[]>();
  readonly #renewing: Repeating;
  #requests: Request[] = [];
  #isAsking = false;
  #isShared = true;

  constructor(deps: SocketQuotasDeps) {
    this.#deps = deps;
    this.#leaseMs = deps.leaseMs ?? LEASE_MS;
    this.#renewing = every(
      Math.min(TICK_MS, this.#leaseMs / 3),
      () => this.#renew(Date.now()),
      (error) => {
        this.#lose(error);
      },
    );
  }

  /** Whether the counts of all processes were known at the last exchange with Redis. */
  get isShared(): boolean {
    return this.#isShared;
  }

  /**
   * Takes a place, until `leave`. A user who is over the limit loses the oldest socket.
   * @throws AppError `unavailable` when the tenant has its most.
   */
  async admit(applicant: Applicant): Promise<void> {
    const { tenantId, tenantSockets, connectionId } = applicant;
    if ((this.#tenants.get(tenantId)?.own ?? 0) >= tenantSockets) throw this.#tooManyError();
    this.#take(applicant);
    const isGranted = await new Promise<boolean>((settle) => {
      this.#requests.push({ applicant, settle });
      if (this.#requests.length === 1) setImmediate(() => void this.#ask());
    });
    if (isGranted) return;
    this.leave(connectionId);
    throw this.#tooManyError();
  }

  leave(connectionId: string): void {
    const place = this.#places.get(connectionId);
    if (!place) return;
    this.#places.delete(connectionId);
    const { tenantId, userId } = place;
    const tenant = this.#tenants.get(tenantId);
    if (tenant) tenant.own -= 1;
    const user = this.#users.get(userId);
    user?.connections.delete(connectionId);
    this.#removeLater(place);
    if (user?.connections.size === 0) this.#users.delete(userId);
  }

  get #renewMs(): number {
    return this.#leaseMs / 3;
  }

  async stop(): Promise<void> {
    await this.#renewing.stop();
    await this.#renew(Date.now()).catch(() => undefined);
  }

  #take(applicant: Applicant): void {
    const { connectionId, userId, tenantId } = applicant;
    this.#places.set(connectionId, applicant);
    const limit = applicant.tenantSockets;
    const tenant = this.#tenants.get(tenantId);
    if (tenant) Object.assign(tenant, { own: tenant.own + 1, unconfirmed: tenant.unconfirmed + 1, limit });
    else
      this.#tenants.set(tenantId, {
        own: 1,
        unconfirmed: 1,
        limit,
        isChanged: false,
        renewedAtMs: Date.now(),
      });
    const user = this.#users.get(userId);
    if (user) {
      user.connections.add(connectionId);
      user.limit = applicant.userSockets;
    } else
      this.#users.set(userId, {
        connections: new Set([connectionId]),
        limit: applicant.userSockets,
        renewedAtMs: Date.now(),
      });
  }

  /** Asks for all that wait, one round trip after the other. */
  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    while (this.#requests.length > 0) {
      const requests = this.#requests.splice(0, CALLS_AT_ONCE);
      await this.#askFor(requests).catch((error: unknown) => {
        this.#lose(error);
        this.#grantAlone(requests);
      });
    }
    this.#isAsking = false;
  }

  async #askFor(requests: readonly Request[]): Promise<void> {
    const byTenant = groupBy(requests, ({ applicant }) => applicant.tenantId);
    const byUser = groupBy(requests, ({ applicant }) => applicant.userId);
    const removals = this.#takeRemovals();
    const replies = await this.#run([
      ...removals,
      ...[...byTenant].map(([tenantId, { length }]) => {
        const { own = 0, unconfirmed = 0 } = this.#tenants.get(tenantId) ?? {};
        return this.#countCall(tenantId, Math.max(0, own - unconfirmed), length);
      }),
      ...[...byUser].map(([userId, some]) =>
        this.#userCall(
          userId,
          some[0]?.applicant.userSockets ?? 0,
          some.map(({ applicant }) => applicant.connectionId),
        ),
      ),
    ]);
    const counts = replies.slice(removals.length);
    for (const [index, [tenantId, some]] of [...byTenant].entries()) {
      const { granted } = readCount(counts[index]);
      this.#confirm(tenantId, some.length);
      for (const [place, request] of some.entries()) this.#settle(request, place < granted);
    }
    for (const [index, userId] of [...byUser.keys()].entries())
      this.#closeOver(userId, readOver(counts[byTenant.size + index]));
  }

  #settle({ applicant, settle }: Request, isGranted: boolean): void {
    // It left while Redis was asked, which counts it now.
    if (this.#places.get(applicant.connectionId) !== applicant) this.#removeLater(applicant);
    settle(isGranted);
  }

  #removeLater({ connectionId, userId, tenantId }: Applicant): void {
    this.#departed.set(userId, [...(this.#departed.get(userId) ?? []), connectionId]);
    const tenant = this.#tenants.get(tenantId);
    if (tenant) tenant.isChanged = true;
  }

  /** Without Redis: what the sockets of this process leave free. */
  #grantAlone(requests: readonly Request[]): void {
    for (const { applicant, settle } of requests) {
      this.#confirm(applicant.tenantId, 1);
      settle(true);
      const { connections, limit } = this.#users.get(applicant.userId) ?? { connections: [], limit: 0 };
      const ids = [...connections];
      this.#closeOver(applicant.userId, ids.slice(0, Math.max(0, ids.length - limit)));
    }
  }

  #confirm(tenantId: string, count: number): void {
    const tenant = this.#tenants.get(tenantId);
    if (tenant) tenant.unconfirmed -= count;
  }

  #closeOver(userId: string, connections: readonly string[]): void {
    for (const connectionId of connections) {
      // Redis has removed it.
      this.#users.get(userId)?.connections.delete(connectionId);
      this.#deps.onOver("user");
      const here = this.#places.get(connectionId);
      if (here) here.close();
      else this.#deps.closeElsewhere(userId, connectionId);
    }
  }

  #countCall(tenantId: string, own: number, asked: number): ScriptCall {
    const limit = this.#tenants.get(tenantId)?.limit ?? 0;
    const leaseMs = this.#leaseMs;
    return countCall({
      ...{ key: tenantSocketsKey(tenantId), process: this.#process },
      ...{ own, asked, limit, leaseMs },
    });
  }

  #userCall(userId: string, limit: number, connections: readonly string[]): ScriptCall {
    return userCall(userSocketsKey(userId), connections, { limit, leaseMs: this.#leaseMs });
  }

  /** Sends what has changed, and renews the leases that are due. */
  async #renew(nowMs: number): Promise<void> {
    const users: [string, UserSockets][] = [];
    for (const entry of this.#users) {
      if (nowMs - entry[1].renewedAtMs < this.#renewMs) break;
      users.push(entry);
    }
    for (const [userId, user] of users) {
      this.#users.delete(userId);
      this.#users.set(userId, Object.assign(user, { renewedAtMs: nowMs }));
    }
    const tenants = [...this.#tenants].filter(
      ([, tenant]) => tenant.isChanged || nowMs - tenant.renewedAtMs >= this.#renewMs,
    );
    for (const [, tenant] of tenants) Object.assign(tenant, { isChanged: false, renewedAtMs: nowMs });
    await this.#run([
      ...this.#takeRemovals(),
      ...tenants.map(([tenantId, { own }]) => this.#countCall(tenantId, own, 0)),
    ]);
    for (const [tenantId, { own }] of tenants) if (own === 0) this.#tenants.delete(tenantId);
    for (let start = 0; start < users.length; start += CALLS_AT_ONCE) {
      const some = users.slice(start, start + CALLS_AT_ONCE).filter(([, user]) => user.connections.size > 0);
      const replies = await this.#run(
        some.map(([userId, { limit, connections }]) => this.#userCall(userId, limit, [...connections])),
      );
      for (const [index, [userId]] of some.entries()) this.#closeOver(userId, readOver(replies[index]));
    }
  }

  #takeRemovals(): ScriptCall[] {
    const calls = [...this.#departed].flatMap(([userId, connections]) =>
      inBatches(connections, CALLS_AT_ONCE).map((some) => removeCall(userSocketsKey(userId), some)),
    );
    this.#departed.clear();
    return calls;
  }

  async #run(calls: readonly ScriptCall[]): Promise<unknown[]> {
    const replies = await runScripts(this.#deps.redis, calls);
    if (calls.length > 0) this.#isShared = true;
    return replies;
  }

  #tooManyError(): AppError {
    this.#deps.onOver("tenant");
    return new AppError("unavailable", "The tenant has too many sockets.");
  }

  #lose(error: unknown): void {
    if (this.#isShared)
      this.#deps.log.warn({ reason: errorText(error) }, "sockets are counted in this process alone");
    this.#isShared = false;
  }
}
