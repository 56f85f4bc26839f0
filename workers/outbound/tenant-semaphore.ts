/**
 * Divides the slots of a process for one kind of work between the tenants: a tenant has at most `perTenant` of the
 * `perProcess`, so that one tenant's hundred busy rooms do not delay another's one. Rooms without a slot wait here, in
 * their order. They are due in Postgres too, so that nothing is lost with the process.
 */
export type TenantSemaphore = {
  /** False when the tenant has all its slots: the room waits, and a later `release` returns it. */
  acquire: (tenantId: string, roomId: string) => boolean;
  /** Releases a slot. Returns the room of that tenant that waits longest, for the caller to wake; null when none waits. */
  release: (tenantId: string) => string | null;
  /** Whether another room may wait for the slot that a room of this tenant holds, here or in the queue. */
  isContended: (tenantId: string) => boolean;
};

/** Rooms of one tenant that wait here; the sweeper finds the others. */
const MAX_WAITING = 10_000;

export function createTenantSemaphore(slots: { perProcess: number; perTenant: number }): TenantSemaphore {
  const tenants = new Map<string, { acquired: number; waiting: Set<string> }>();
  let acquired = 0;
  return {
    acquire: (tenantId, roomId) => {
      const tenant = tenants.get(tenantId) ?? { acquired: 0, waiting: new Set<string>() };
      tenants.set(tenantId, tenant);
      if (tenant.acquired < slots.perTenant) {
        tenant.acquired++;
        acquired++;
        tenant.waiting.delete(roomId);
        return true;
      }
      if (tenant.waiting.size < MAX_WAITING) tenant.waiting.add(roomId);
      return false;
    },
    release: (tenantId) => {
      const tenant = tenants.get(tenantId);
      if (!tenant) return null;
      tenant.acquired--;
      acquired--;
      const next = tenant.waiting.values().next();
      if (next.done) {
        if (tenant.acquired === 0) tenants.delete(tenantId);
        return null;
      }
      tenant.waiting.delete(next.value);
      return next.value;
    },
    isContended: (tenantId) =>
      acquired >= slots.perProcess || (tenants.get(tenantId)?.acquired ?? 0) >= slots.perTenant,
  };
}
