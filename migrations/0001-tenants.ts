import type { Knex } from "knex";

export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table homeservers (
      id uuid primary key,
      server_name text not null unique,
      base_url text not null,
      mode text not null check (mode in ('appservice', 'admin')),
      sealed_secrets text not null,
      created_at timestamptz not null default now()
    );
    create table tenants (
      id uuid primary key,
      slug text not null unique check (slug ~ '^[a-z][a-z0-9-]{1,31}$'),
      homeserver_id uuid not null references homeservers,
      status text not null default 'active' check (status in ('active', 'paused')),
      sealed_token_keys text not null,
      limits jsonb not null default '{}',
      created_at timestamptz not null default now()
    );
    create table api_keys (
      id text primary key,
      tenant_id uuid not null references tenants,
      role text not null check (role in ('server', 'operator', 'viewer')),
      secret_hash bytea not null,
      created_at timestamptz not null default now(),
      revoked_at timestamptz
    );
    create index api_keys_tenant on api_keys (tenant_id);
    create table audit (
      id uuid primary key,
      at timestamptz not null default now(),
      tenant_id uuid references tenants,
      actor text not null,
      action text not null,
      subject text,
      detail jsonb not null default '{}'
    );
    create index audit_tenant_at on audit (tenant_id, at);
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop table audit, api_keys, tenants, homeservers");
}
