import type { MatrixCall } from "../../workers/matrix/http/client.ts";
import { MatrixFailure, type FailureKind } from "../../workers/matrix/http/failure.ts";
import type { Homeserver } from "../../workers/matrix/homeserver/homeserver.ts";

export type RecordedCall = {
  as: string;
  method: string;
  path: string;
  query: Record<string, string | undefined>;
  body: Record<string, unknown>;
};

/** A homeserver that accepts and records every call; a test chooses what it refuses. */
export class FakeHomeserver implements Homeserver {
  readonly id = "fake";
  readonly serverName = "test";
  readonly baseUrl = "http://127.0.0.1:9";
  readonly keepsTime: boolean;
  readonly calls: RecordedCall[] = [];
  readonly accounts = new Set<string>();
  /** What else happens between a call and its answer. */
  meanwhile: (path: string) => Promise<void> = () => Promise.resolve();
  readonly #events = new Map<string, string>();
  readonly #answers: { matches: RegExp; body: unknown; isKept: boolean }[] = [];
  readonly #refusals: { matches: RegExp; failure: MatrixFailure; isApplied: boolean }[] = [];

  constructor({ keepsTime = true } = {}) {
    this.keepsTime = keepsTime;
  }

  readonly as = (matrixUserId: string) =>
    Promise.resolve(async (call: MatrixCall) => {
      const answer = this.#answer(matrixUserId, call);
      await Promise.allSettled([answer]);
      await this.meanwhile(call.path);
      return answer;
    });

  readonly ensureAccount = (matrixUserId: string) => {
    this.accounts.add(matrixUserId);
    return Promise.resolve();
  };

  readonly removeAccount = (matrixUserId: string) => {
    this.accounts.delete(matrixUserId);
    return Promise.resolve();
  };

  readonly isDeactivated = () => Promise.resolve(false);

  readonly login = () => Promise.reject(new Error("the fake homeserver has no login"));

  /** The next call whose path matches fails; `isApplied`: it was done all the same, and the answer is lost. */
  refuse(
    matches: RegExp,
    kind: FailureKind,
    { retryAfterMs = null as number | null, isApplied = false } = {},
  ): void {
    const failure = new MatrixFailure(kind, {
      errcode: kind === "forbidden" ? "M_FORBIDDEN" : "M_TEST",
      httpStatus: kind === "transient" ? null : 400,
      retryAfterMs,
    });
    this.#refusals.push({ matches, failure, isApplied });
  }

  /** Nothing is refused, and nothing answered otherwise, any more. */
  forget(): void {
    this.#refusals.length = 0;
    this.#answers.length = 0;
  }

  /** The next call whose path matches fails so. */
  fail(matches: RegExp, failure: MatrixFailure): void {
    this.#refusals.push({ matches, failure, isApplied: false });
  }

  /** The next call whose path matches is answered with this; `isKept`: every such call. */
  answer(matches: RegExp, body: unknown, { isKept = false } = {}): void {
    this.#answers.push({ matches, body, isKept });
  }

  /** Texts that stand in the room, in order: a transaction id that was used before changes nothing. */
  get texts(): string[] {
    return [...this.#events.values()];
  }

  /** Whether the call of a path was carried out. */
  isApplied(path: string): boolean {
    return !path.includes("/send/") || this.#events.has(path);
  }

  /** Texts of all attempts to send, in order. */
  get attempts(): string[] {
    return this.calls.filter(({ path }) => path.includes("/send/")).map(({ body }) => String(body["body"]));
  }

  #answer(as: string, call: MatrixCall): Promise<unknown> {
    const { method, path, query = {}, body = {} } = call;
    this.calls.push({ as, method, path, query, body });
    const index = this.#refusals.findIndex(({ matches }) => matches.test(path));
    const [refusal] = index < 0 ? [] : this.#refusals.splice(index, 1);
    if (!refusal || refusal.isApplied) this.#apply(path, body);
    if (refusal) return Promise.reject(refusal.failure);
    const given = this.#answers.findIndex(({ matches }) => matches.test(path));
    const found = this.#answers[given];
    if (found) {
      if (!found.isKept) this.#answers.splice(given, 1);
      return Promise.resolve(found.body);
    }
    // Each room was created by the account that asks.
    if (path.endsWith("/state/m.room.create"))
      return Promise.resolve({ sender: as, content: { room_version: "11" } });
    return Promise.resolve({
      room_id: `!${String(body["room_alias_name"])}:test`,
      event_id: `$${path}`,
    });
  }

  #apply(path: string, body: Record<string, unknown>): void {
    if (path.includes("/send/") && !this.#events.has(path)) this.#events.set(path, String(body["body"]));
  }
}
