import { randomBytes } from "node:crypto";
import { Model } from "objection";
import { z } from "zod";
import { newId, randomToken } from "../../platform/ids.ts";
import { webOrigin } from "../../contract/names.ts";
import { avatarUrl, displayName } from "../../contract/room-fields.ts";
import { role } from "../../contract/roles.ts";
import { seal, unseal, type SealKey } from "../../platform/seal.ts";
import { tokenKeys, type TokenKeys } from "../../auth/tokens.ts";
import type { Homeserver } from "../homeservers/homeservers.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { insertObserver } from "../observers/observers.ts";

const DAY_MS = 86_400_000;
export const DEFAULT_MAX_AGE_MS = 7 * DAY_MS;
export const DEFAULT_QUEUED_MESSAGES = 1_000_000;
export const DEFAULT_ROOM_MESSAGES = 100_000;

/** The limits of a tenant, with the default of each. */
export const tenantLimits = z.object({
  /** As whom the product itself speaks; absent: the tenant's slug, without an avatar. */
  name: displayName.optional(),
  avatar: avatarUrl.optional(),
  /** Messages that wait for Matrix: of all rooms together, and of one room. */
  queuedMessages: z.int().min(1).default(DEFAULT_QUEUED_MESSAGES),
  roomMessages: z.int().min(1).default(DEFAULT_ROOM_MESSAGES),
  /** Users and rooms that are not made on Matrix yet. */
  pendingUsers: z.int().min(1).max(100_000).default(10_000),
  pendingRooms: z.int().min(1).max(100_000).default(2_000),
  /** A message older than this is dead when it cannot be sent for a minute while other rooms' messages are. In milliseconds. */
  maxAgeMs: z
    .int()
    .min(60_000)
    .max(30 * DAY_MS)
    .default(DEFAULT_MAX_AGE_MS),
  /** Whom the jobs join on Matrix in the background: `lazy`, members who have opened the room; `eager`, all who may post. */
  join: z.enum(["lazy", "eager"]).default("lazy"),
  /** What happens to users who do not exist and are named as members: `create`, they are made; `refuse`, the call is refused. */
  unknownUsers: z.enum(["create", "refuse"]).default("create"),
  /** What happens to messages that Matrix refuses for good: `keep`, they stay, marked; `hide`, they are deleted here too. */
  onRefused: z.enum(["keep", "hide"]).default("keep"),
  /**
   * The role that each status of an attendee stands for, or `out`; a status that is not named is out. Names are in lower case.
   * Domain events with a status follow it.
   */
  rsvp: z
    .record(z.string().regex(/^[a-z0-9_-]{1,64}$/, "is not a status"), z.enum([...role.options, "out"]))
    .default({ confirmed: "member", cancelled: "member", rejected: "member" }),
  /** Requests in 10 s: of one user, of one API key, and of the whole tenant. */
  userRequests: z.int().min(1).default(1_000),
  keyRequests: z.int().min(1).default(10_000),
  /** In 10 s, of one person in one room: acts on messages, and live signs (typing, reading). */
  roomActs: z.int().min(1).default(30),
  roomSigns: z.int().min(1).default(60),
  tenantRequests: z.int().min(1).default(20_000),
  /** Requests that wait at once for their outcome (`Prefer: wait=N`), in each api process. */
  longPolls: z.int().min(1).max(250).default(100),
  /** Open sockets of one user and of the whole tenant, over all processes. Absent: those of the configuration. */
  userSockets: z.int().min(1).max(10_000).optional(),
  tenantSockets: z.int().min(1).max(1_000_000).optional(),
  /** Origins whose pages may call for the tenant's users. Absent: those of the configuration. */
  allowedOrigins: z
    .array(z.url({ protocol: /^https?$/ }))
    .max(100)
    .optional(),
});
export type TenantLimits = z.infer<typeof tenantLimits>;

/** What an operator may set. It is stricter than what is read, so that values of before are still read. */
export const desiredTenantLimits = tenantLimits.extend({
  allowedOrigins: z.array(webOrigin).max(100).optional(),
});

/** A customer product. A `paused` tenant's callers are refused, and its jobs do nothing. */
export class Tenant extends Model {
  static override tableName = "tenants";
  static override jsonAttributes = ["limits"];
  declare id: string;
  declare slug: string;
  declare homeserver_id: string;
  declare status: "active" | "paused";
  declare sealed_token_keys: string;
  declare limits: Record<string, unknown>;
  declare created_at: Date;
}

/** Creates a tenant with its token keys and its first observer. `isCreated` is false when a tenant has the slug. */
export async function createTenant(
  db: Db,
  sealKeys: readonly SealKey[],
  { slug, homeserver }: { slug: string; homeserver: Homeserver },
): Promise<{ tenant: Tenant; isCreated: boolean }> {
  return db.transaction(async (trx) => {
    const id = newId();
    const keys: TokenKeys = { current: newTokenKey(), previous: null };
    const inserted: unknown[] = await trx("tenants")
      .insert({
        id,
        slug,
        homeserver_id: homeserver.id,
        sealed_token_keys: sealTokenKeys(sealKeys, id, keys),
      })
      .onConflict("slug")
      .ignore()
      .returning("id");
    const isCreated = inserted.length > 0;
    if (isCreated) await insertObserver(trx, id, homeserver.server_name);
    return { tenant: await Tenant.query(trx).findOne({ slug }).throwIfNotFound(), isCreated };
  });
}

export async function findTenantBySlug(db: Db, slug: string): Promise<Tenant | undefined> {
  return Tenant.query(db).findOne({ slug });
}

/** Of many tenants by slug, those that are not paused, in one query. */
export async function findActiveTenants(
  db: Db,
  slugs: readonly string[],
): Promise<Pick<Tenant, "id" | "slug" | "sealed_token_keys" | "limits">[]> {
  return rowsOf(
    db,
    "select id, slug, sealed_token_keys, limits from tenants where slug = any(?) and status = 'active'",
    [slugs],
  );
}

export async function listTenants(db: Db, limit: number): Promise<Tenant[]> {
  return Tenant.query(db).orderBy("slug").limit(limit);
}

const ORIGINS_AT_MOST = 10_000;

/** The origins that tenants have of their own. */
export async function listTenantOrigins(db: Db): Promise<string[]> {
  const rows = await rowsOf<{ origin: string }>(
    db,
    `select distinct origin
       from tenants, jsonb_array_elements_text(
              case when jsonb_typeof(limits -> 'allowedOrigins') = 'array' then limits -> 'allowedOrigins' else '[]' end
            ) as origin
      limit ?`,
    [ORIGINS_AT_MOST],
  );
  return rows.map(({ origin }) => origin);
}

/** Replaces a tenant's limits. Every process uses them within a second. Returns false when there is no such tenant. */
export async function setTenantLimits(
  db: Db,
  slug: string,
  limits: Record<string, unknown>,
): Promise<boolean> {
  return (await Tenant.query(db).patch({ limits }).where({ slug })) > 0;
}

/** Returns false when there is no such tenant. */
export async function setTenantStatus(db: Db, slug: string, status: Tenant["status"]): Promise<boolean> {
  return (await Tenant.query(db).patch({ status }).where({ slug })) > 0;
}

type SealedTokenKeys = Pick<Tenant, "id" | "sealed_token_keys">;

export function openTokenKeys(sealKeys: readonly SealKey[], tenant: SealedTokenKeys): TokenKeys {
  return tokenKeys.parse(JSON.parse(unseal(sealKeys, sealContext(tenant.id), tenant.sealed_token_keys)));
}

/** Opens the token keys of tenants. Those that are still sealed as before are not opened again. */
export function createKeyOpener(sealKeys: readonly SealKey[]): (tenant: SealedTokenKeys) => TokenKeys {
  const opened = new Map<string, { sealed: string; keys: TokenKeys }>();
  return (tenant) => {
    const known = opened.get(tenant.id);
    if (known?.sealed === tenant.sealed_token_keys) return known.keys;
    const keys = openTokenKeys(sealKeys, tenant);
    opened.delete(tenant.id);
    opened.set(tenant.id, { sealed: tenant.sealed_token_keys, keys });
    const [oldest] = opened.keys();
    if (oldest !== undefined && opened.size > OPENED_AT_MOST) opened.delete(oldest);
    return keys;
  };
}

const OPENED_AT_MOST = 1_000;

/** Replaces the signing key. Tokens of the former key stay valid; those of the key before that do not. */
export async function rotateTokenKeys(
  db: Db,
  sealKeys: readonly SealKey[],
  tenantId: string,
): Promise<TokenKeys> {
  return db.transaction(async (trx) => {
    const tenant = await Tenant.query(trx).findById(tenantId).forUpdate().throwIfNotFound();
    const keys: TokenKeys = { current: newTokenKey(), previous: openTokenKeys(sealKeys, tenant).current };
    await Tenant.query(trx)
      .patch({ sealed_token_keys: sealTokenKeys(sealKeys, tenantId, keys) })
      .where({ id: tenantId });
    return keys;
  });
}

function newTokenKey(): TokenKeys["current"] {
  return { kid: randomToken(8), secret: randomBytes(32).toString("base64url") };
}

function sealTokenKeys(sealKeys: readonly SealKey[], tenantId: string, keys: TokenKeys): string {
  return seal(sealKeys, sealContext(tenantId), JSON.stringify(keys));
}

function sealContext(tenantId: string): { tenant: string; row: string } {
  return { tenant: tenantId, row: "token-keys" };
}

/** Seals every tenant's token keys with the first seal key. Returns how many tenants there are. */
export async function resealTenants(db: Db, sealKeys: readonly SealKey[]): Promise<number> {
  const tenants = await Tenant.query(db);
  for (const tenant of tenants) {
    const sealed = sealTokenKeys(sealKeys, tenant.id, openTokenKeys(sealKeys, tenant));
    // A rotation in between has sealed with the first key already.
    await Tenant.query(db)
      .patch({ sealed_token_keys: sealed })
      .where({ id: tenant.id, sealed_token_keys: tenant.sealed_token_keys });
  }
  return tenants.length;
}
