import type { z } from "zod";
import type { Config } from "../../shared/platform/config.ts";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import { ensureHomeserver } from "../../shared/db/homeservers/homeservers.ts";
import { makeJoinsDue } from "../../shared/db/memberships/members-due.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import {
  createTenant,
  findTenantBySlug,
  listTenants,
  setTenantLimits,
  setTenantStatus,
  tenantLimits,
  desiredTenantLimits,
  type TenantLimits,
  type Tenant,
} from "../../shared/db/tenants/tenants.ts";
import { AppError } from "../../shared/contract/errors.ts";

const TENANTS_AT_MOST = 10_000;

/** Creates a tenant on the homeserver of the configuration. */
export async function createTenantNamed(
  db: Db,
  config: Config,
  slug: string,
): Promise<{ tenant: string; created: boolean }> {
  const homeserver = await ensureHomeserver(db, config.sealKeys, config.homeserver);
  const { tenant, isCreated } = await createTenant(db, config.sealKeys, { slug, homeserver });
  if (isCreated)
    await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "tenant.create", subject: slug });
  return { tenant: slug, created: isCreated };
}

export async function listAllTenants(
  db: Db,
): Promise<{ tenant: string; status: string; createdAt: string }[]> {
  const tenants = await listTenants(db, TENANTS_AT_MOST);
  return tenants.map(({ slug, status, created_at }) => ({
    tenant: slug,
    status,
    createdAt: created_at.toISOString(),
  }));
}

export async function setStatus(
  db: Db,
  slug: string,
  status: Tenant["status"],
): Promise<{ tenant: string; status: string }> {
  const tenant = await requireTenant(db, slug);
  await setTenantStatus(db, slug, status);
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: `tenant.${status}`, subject: slug });
  return { tenant: slug, status };
}

/**
 * Changes limits of a tenant, given as `name=value`; an empty value restores the default. Returns all limits.
 * @throws AppError `invalid`.
 */
export async function limitTenant(
  db: Db,
  slug: string,
  changes: readonly string[],
): Promise<Record<string, unknown>> {
  const tenant = await requireTenant(db, slug);
  const parsed = changes.map(parseLimit);
  const given = Object.fromEntries(
    parsed.flatMap(({ name, value }) => (value === null ? [] : [[name, value]])),
  );
  requireValid(desiredTenantLimits.partial(), given);
  const next = { ...tenant.limits, ...given };
  for (const { name, value } of parsed) if (value === null) Reflect.deleteProperty(next, name);
  const limits = requireValid(tenantLimits, next);
  if (changes.length > 0) {
    await setTenantLimits(db, slug, next);
    // In a quiet room nothing else would join the members.
    if (limits.join === "eager") await makeJoinsDue(db, tenant.id);
    await insertAudit(db, {
      tenantId: tenant.id,
      actor: "cli",
      action: "tenant.limits",
      subject: `${slug} ${changes.join(" ")}`,
    });
  }
  return { tenant: slug, ...limits };
}

function requireValid<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const faults = result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  throw new AppError("invalid", faults.join("\n"));
}

/** The settings whose value is text. */
const WORDS: ReadonlySet<string> = new Set([
  "join",
  "unknownUsers",
  "onRefused",
  "name",
  "avatar",
] satisfies (keyof TenantLimits)[]);

type LimitValue = number | string | string[] | Record<string, string> | null;

function parseLimit(change: string): { name: string; value: LimitValue } {
  const [, name = "", text = ""] = /^(\w+)=(.*)$/.exec(change) ?? [];
  if (!Object.hasOwn(desiredTenantLimits.shape, name))
    throw new AppError(
      "invalid",
      `${change}: name=value, with one of ${Object.keys(desiredTenantLimits.shape).join(", ")}`,
    );
  if (text === "") return { name, value: null };
  if (name === "allowedOrigins") return { name, value: text.split(",") };
  if (name === "rsvp") return { name, value: parseMapping(text) };
  return { name, value: WORDS.has(name) ? text : Number(text) };
}

/** `confirmed:member,waitlist:guest`. */
function parseMapping(text: string): Record<string, string> {
  const pairs = text.split(",").map((pair) => pair.split(":"));
  return Object.fromEntries(pairs.map(([status = "", role = ""]) => [status.toLowerCase(), role]));
}

/** @throws AppError `not_found`. */
export async function requireTenant(db: Db, slug: string): Promise<Tenant> {
  const tenant = await findTenantBySlug(db, slug);
  if (!tenant)
    throw new AppError("not_found", `There is no tenant ${slug}. Make it with: tenant create ${slug}`);
  return tenant;
}
