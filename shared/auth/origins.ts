import { listTenantOrigins } from "../db/tenants/tenants.ts";
import { every } from "../platform/concurrency/every.ts";
import type { Db } from "../db/connection/open.ts";

const READ_EVERY_MS = 5_000;

/** The origins whose pages may connect at all, before their tenant is known. */
export type Origins = { isKnown: (origin: string) => boolean; close: () => void };

/**
 * The origins of the configuration and of all tenants, read again every 5 s. A failed read changes nothing. Every origin
 * is known when the configuration names none.
 */
export async function openOrigins(db: Db, configured: readonly string[]): Promise<Origins> {
  if (configured.length === 0) return { isKnown: () => true, close: () => undefined };
  let known = new Set(configured);
  const read = async (): Promise<void> => {
    const own = await listTenantOrigins(db).catch(() => null);
    if (own) known = new Set([...configured, ...own]);
  };
  await read();
  const reading = every(READ_EVERY_MS, read, () => undefined);
  return {
    isKnown: (origin) => known.has(origin),
    close: () => void reading.stop(),
  };
}

/** Whether pages of an origin may act for a tenant: its own list decides, or the configuration's if it has none. */
export function isTenantOrigin(
  origin: string,
  own: readonly string[] | undefined,
  configured: readonly string[],
): boolean {
  const allowed = own ?? configured;
  return (own === undefined && configured.length === 0) || allowed.includes(origin);
}
