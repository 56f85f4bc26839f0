/**
 * Shares a process's places for one kind of work between tenants: one tenant takes at most `each` of the `all`, so that
 * its hundred busy rooms leave room for another's one. Rooms that find no place wait here in the order they came; they
 * are due in Postgres all the same, so that nothing is lost with the process.
 */
export type TenantSemaphore = {
  /** False when the tenant has its places: the room waits, and is named by a later `leave`. */
  enter: (tenantId: string, roomId: string) => boolean;
  /** Gives a place back. Answers the room of that tenant that waited longest, to be woken; null when none waits. */
  leave: (tenantId: string) => string | null;
  /** Whether a room of the tenant that goes on may keep another one waiting, here or in the queue. */
  isCrowded: (tenantId: string) => boolean;
};

/** Rooms that wait, of one tenant; what comes beyond is found by the sweeper. */
const WAITING_AT_MOST = 10_000;

export function createTenantSemaphore(places: { all: number; each: number }): TenantSemaphore {
  const tenants = new Map<string, { taken: number; waiting: Set<string> }>();
  let taken = 0;
  return {
    enter: (tenantId, roomId) => {
      const tenant = tenants.get(tenantId) ?? { taken: 0, waiting: new Set<string>() };
      tenants.set(tenantId, tenant);
      if (tenant.taken < places.each) {
        tenant.taken++;
        taken++;
        tenant.waiting.delete(roomId);
        return true;
      }
      if (tenant.waiting.size < WAITING_AT_MOST) tenant.waiting.add(roomId);
      return false;
    },
    leave: (tenantId) => {
      const tenant = tenants.get(tenantId);
      if (!tenant) return null;
      tenant.taken--;
      taken--;
      const next = tenant.waiting.values().next();
      if (next.done) {
        if (tenant.taken === 0) tenants.delete(tenantId);
        return null;
      }
      tenant.waiting.delete(next.value);
      return next.value;
    },
    isCrowded: (tenantId) => taken >= places.all || (tenants.get(tenantId)?.taken ?? 0) >= places.each,
  };
}
