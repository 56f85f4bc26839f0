import type { MatrixCall } from "../http/client.ts";

/**
 * Lets the tenants of one homeserver take turns with the calls that it is slow at, a few at a time. A homeserver works on
 * all calls that it has at once: with one tenant's forty rooms in the making, another's one would take as long as all.
 */
export type TenantTurns = {
  run: <T>(tenantId: string, work: () => Promise<T>) => Promise<T>;
  /** Starts everything that waits. For when calls are refused at once, because the homeserver does not respond. */
  startAll: () => void;
};

type Start = () => void;

/** At most `atOnce` pieces of work run at a time. What waits is bounded by the jobs that a process runs. */
export function createTenantTurns(atOnce: number): TenantTurns {
  // The tenants that wait, in the order of their turns.
  const waiting = new Map<string, Start[]>();
  let running = 0;
  const startNext = (): boolean => {
    const next = waiting.entries().next();
    if (next.done) return false;
    const [tenantId, [start, ...others]] = next.value;
    waiting.delete(tenantId);
    if (others.length > 0) waiting.set(tenantId, others);
    running++;
    start?.();
    return true;
  };
  const enter = (tenantId: string): Promise<void> =>
    new Promise((resolve) => {
      waiting.set(tenantId, [...(waiting.get(tenantId) ?? []), resolve]);
    });
  return {
    run: async (tenantId, work) => {
      if (running < atOnce) running++;
      else await enter(tenantId);
      try {
        return await work();
      } finally {
        running--;
        if (running < atOnce) startNext();
      }
    },
    startAll: () => {
      while (startNext());
    },
  };
}

/** Whether a call changes an account or a room, at which homeservers are slow. A message's send is not such a call. */
export function isSlowCall({ method, path }: MatrixCall): boolean {
  return method !== "GET" && !/\/(send|redact|typing|receipt|read_markers)(\/|$)/.test(path);
}
