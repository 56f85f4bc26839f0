/**
 * Divides the slots of one queue in this process between the tenants: a tenant has at most `perTenant` of the
 * `perProcess`, so that one tenant's thousand jobs do not delay another's one. Work without a slot waits here, in its
 * order, and its job ends: the queue never has one tenant's backlog before another's job. The work is due in Postgres too,
 * so that nothing is lost with the process.
 */
export type TenantSemaphore<Work> = {
  /** False when the tenant has all its slots: the work waits, and a later `release` returns it. `key` names the work. */
  acquire: (tenantId: string, key: string, work: Work) => boolean;
  /** Releases a slot. Returns the work of that tenant that waits longest, for the caller to wake; null when none waits. */
  release: (tenantId: string) => Work | null;
  /** Whether other work may wait for a slot that this tenant holds, here or in the queue. */
  isContended: (tenantId: string) => boolean;
  /** Whether the work waits here while its tenant has all its slots: one of their releases will return it. */
  isWaiting: (tenantId: string, key: string) => boolean;
  /** How much work waits, of all tenants. */
  waiting: () => number;
};

export type TenantSlots = { perProcess: number; perTenant: number };

/** Work of one tenant that waits here; the sweeper finds the rest. */
const MAX_WAITING = 10_000;

type Tenant<Work> = { acquired: number; waiting: Map<string, Work> };

export function createTenantSemaphore<Work>(slots: TenantSlots): TenantSemaphore<Work> {
  const tenants = new Map<string, Tenant<Work>>();
  let acquired = 0;
  return {
    acquire: (tenantId, key, work) => {
      const tenant = tenants.get(tenantId) ?? { acquired: 0, waiting: new Map<string, Work>() };
      tenants.set(tenantId, tenant);
      if (tenant.acquired < slots.perTenant) {
        tenant.acquired++;
        acquired++;
        tenant.waiting.delete(key);
        return true;
      }
      if (tenant.waiting.size < MAX_WAITING) tenant.waiting.set(key, work);
      return false;
    },
    release: (tenantId) => {
      const tenant = tenants.get(tenantId);
      if (!tenant) return null;
      tenant.acquired--;
      acquired--;
      const next = tenant.waiting.entries().next();
      if (next.done) {
        if (tenant.acquired === 0) tenants.delete(tenantId);
        return null;
      }
      const [key, work] = next.value;
      tenant.waiting.delete(key);
      return work;
    },
    isContended: (tenantId) =>
      acquired >= slots.perProcess || (tenants.get(tenantId)?.acquired ?? 0) >= slots.perTenant,
    isWaiting: (tenantId, key) => {
      const tenant = tenants.get(tenantId);
      // With a free slot the sweeper must wake it: the wake-up of an earlier release may be lost.
      return tenant !== undefined && tenant.acquired >= slots.perTenant && tenant.waiting.has(key);
    },
    waiting: () => {
      let count = 0;
      for (const tenant of tenants.values()) count += tenant.waiting.size;
      return count;
    },
  };
}
