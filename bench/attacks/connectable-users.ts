import { createHmac } from "node:crypto";
import { execute, openDb, rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { Homeserver } from "../../shared/db/homeservers/homeservers.ts";
import { createTenant, openTokenKeys } from "../../shared/db/tenants/tenants.ts";
import type { TokenKeys } from "../../shared/auth/tokens.ts";
import { readConfig } from "../../shared/platform/config.ts";

/** A tenant whose users may connect. Nothing of them is due on Matrix. */
export type ConnectableUsers = { tokens: string[] };

/** Every user is in one room of this many. */
const ROOM_MEMBERS = 100;
const LIFETIME_S = 3_600;

/** A tenant of this name with users `u0`, `u1`, … and a token of each. What exists is used again. */
export async function ensureConnectableUsers(slug: string, count: number): Promise<ConnectableUsers> {
  const { databaseUrl, sealKeys } = readConfig(process.env);
  const db = openDb({ url: databaseUrl, name: "bench", max: 1, statementTimeoutMs: 60_000 });
  try {
    const homeserver = await Homeserver.query(db).findOne({}).throwIfNotFound();
    const { tenant } = await createTenant(db, sealKeys, { slug, homeserver });
    await insertUsers(db, tenant.id, count);
    await insertRooms(db, tenant.id, Math.ceil(count / ROOM_MEMBERS));
    const keys = openTokenKeys(sealKeys, tenant);
    return { tokens: Array.from({ length: count }, (_, index) => sign(keys, slug, `u${String(index)}`)) };
  } finally {
    await db.destroy();
  }
}

async function insertUsers(db: Db, tenantId: string, count: number): Promise<void> {
  await execute(
    db,
    `insert into users (id, tenant_id, external_id, matrix_user_id, status, applied_version, next_attempt_at)
     select gen_random_uuid(), :tenantId, 'u' || n, '@' || gen_random_uuid() || ':bench', 'ready', 1, null
       from generate_series(0, :count - 1) n
         on conflict (tenant_id, external_id) where deleted_at is null do nothing`,
    { tenantId, count },
  );
}

async function insertRooms(db: Db, tenantId: string, count: number): Promise<void> {
  const rooms = await rowsOf<{ id: string }>(
    db,
    `insert into rooms (id, tenant_id, kind, slug, name, observer_id, matrix_room_id, status, applied_version, next_attempt_at)
     select gen_random_uuid(), :tenantId, 'group', 'r' || n, 'Room ' || n, o.id, '!' || gen_random_uuid(), 'ready', 1, null
       from generate_series(0, :count - 1) n cross join (select id from observers where tenant_id = :tenantId limit 1) o
      where not exists (select from rooms r where r.tenant_id = :tenantId and r.slug = 'r' || n and r.deleted_at is null)
     returning id`,
    { tenantId, count },
  );
  const ids = rooms.map(({ id }) => id);
  for (const table of ["room_outbox", "room_timeline"] as const)
    await execute(
      db,
      table === "room_outbox"
        ? "insert into room_outbox (room_id, tenant_id) select id, tenant_id from rooms where id = any(:ids)"
        : "insert into room_timeline (room_id, tenant_id, epoch) select id, tenant_id, md5(id::text) from rooms where id = any(:ids)",
      { ids },
    );
  await execute(
    db,
    `insert into memberships (room_id, user_id, tenant_id, role, applied, applied_version)
     select r.id, u.id, u.tenant_id, 'member', 'in', 1
       from users u join rooms r on r.tenant_id = u.tenant_id
        and r.slug = 'r' || (substr(u.external_id, 2)::int / :members)
      where u.tenant_id = :tenantId and u.external_id ~ '^u[0-9]+$'
         on conflict do nothing`,
    { tenantId, members: ROOM_MEMBERS },
  );
}

/** A token as a product signs it. */
function sign({ current }: TokenKeys, tenant: string, user: string): string {
  const issuedAtS = Math.floor(Date.now() / 1_000);
  const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const text = [
    encode({ alg: "HS256", kid: current.kid, typ: "JWT" }),
    encode({
      iss: tenant,
      aud: "openmeet-chat",
      sub: user,
      iat: issuedAtS,
      exp: issuedAtS + LIFETIME_S,
    }),
  ].join(".");
  const signature = createHmac("sha256", Buffer.from(current.secret, "base64url")).update(text);
  return `${text}.${signature.digest("base64url")}`;
}
