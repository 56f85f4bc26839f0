import type { Random } from "../random.ts";

/** What goes wrong with a request that a rule meets. Times in milliseconds. */
export type FaultKind =
  | { do: "limit"; retryAfterMs: number }
  | { do: "refuse"; status: number; errcode: string }
  /** A proxy's page instead of an answer. */
  | { do: "html"; status: number }
  /** Nothing comes, until the connection is cut after `ms`. */
  | { do: "hang in head"; ms: number }
  /** Half the answer comes; the connection is cut after `ms`. It was applied. */
  | { do: "hang in body"; ms: number }
  | { do: "reset" }
  /** It was applied, and the connection breaks before the answer. */
  | { do: "lose the answer" }
  | { do: "delay"; ms: number };

export type FaultRule = {
  /** Tried on `METHOD /path`, decoded. */
  path: RegExp;
  /** Tried on the body, when given. */
  body?: RegExp;
  /** Tried on the account that asks, when given. */
  userId?: string;
  /** Share of the requests that it meets; 1 unless told. */
  share?: number;
  /** How many requests it meets; all unless told. */
  count?: number;
  fault: FaultKind;
};

export type Faults = {
  add: (rule: FaultRule) => () => void;
  clear: () => void;
  choose: (request: { path: string; body: string; userId: string | null }) => FaultKind | null;
  /** How often each kind was done. */
  done: Map<string, number>;
};

/** Rules in force; the first that meets a request decides. */
export function createFaults(random: Random): Faults {
  const rules = new Set<FaultRule & { met: number }>();
  const done = new Map<string, number>();
  return {
    done,
    add: (rule) => {
      const kept = { ...rule, met: 0 };
      rules.add(kept);
      return () => rules.delete(kept);
    },
    clear: () => {
      rules.clear();
    },
    choose: ({ path, body, userId }) => {
      for (const rule of rules) {
        const isMet =
          rule.path.test(path) &&
          (rule.body?.test(body) ?? true) &&
          (rule.userId === undefined || rule.userId === userId) &&
          rule.met < (rule.count ?? Infinity) &&
          (rule.share === undefined || random.next() < rule.share);
        if (!isMet) continue;
        rule.met++;
        done.set(rule.fault.do, (done.get(rule.fault.do) ?? 0) + 1);
        return rule.fault;
      }
      return null;
    },
  };
}
