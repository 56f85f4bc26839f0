import type { Random } from "../random.ts";

/** The fault of a request that matches a rule. Times in milliseconds. */
export type FaultKind =
  | { do: "limit"; retryAfterMs: number }
  | { do: "refuse"; status: number; errcode: string }
  /** A proxy's page instead of an answer. */
  | { do: "html"; status: number }
  /** No byte of a response; the connection closes after `ms`. */
  | { do: "hang in head"; ms: number }
  /** The request is applied; half the response arrives, and the connection closes after `ms`. */
  | { do: "hang in body"; ms: number }
  | { do: "reset" }
  /** The request is applied; the connection breaks before the response. */
  | { do: "lose the answer" }
  | { do: "delay"; ms: number };

export type FaultRule = {
  /** Matches `METHOD /path`, decoded. */
  path: RegExp;
  /** Matches the body, when given. */
  body?: RegExp;
  /** The account that the request acts as, when given. */
  userId?: string;
  /** The share of matching requests that get the fault; 1 by default. */
  share?: number;
  /** The number of matching requests that get the fault; all by default. */
  count?: number;
  fault: FaultKind;
};

export type Faults = {
  add: (rule: FaultRule) => () => void;
  clear: () => void;
  choose: (request: { path: string; body: string; userId: string | null }) => FaultKind | null;
  /** The number of faults so far, by kind. */
  done: Map<string, number>;
};

/** The rules in force. The first one that matches a request decides. */
export function createFaults(random: Random): Faults {
  const rules = new Set<FaultRule & { matched: number }>();
  const done = new Map<string, number>();
  return {
    done,
    add: (rule) => {
      const kept = { ...rule, matched: 0 };
      rules.add(kept);
      return () => rules.delete(kept);
    },
    clear: () => {
      rules.clear();
    },
    choose: ({ path, body, userId }) => {
      for (const rule of rules) {
        const isMatched =
          rule.path.test(path) &&
          (rule.body?.test(body) ?? true) &&
          (rule.userId === undefined || rule.userId === userId) &&
          rule.matched < (rule.count ?? Infinity) &&
          (rule.share === undefined || random.next() < rule.share);
        if (!isMatched) continue;
        rule.matched++;
        done.set(rule.fault.do, (done.get(rule.fault.do) ?? 0) + 1);
        return rule.fault;
      }
      return null;
    },
  };
}
