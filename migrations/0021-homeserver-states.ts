import type { Knex } from "knex";

// How each worker process sees each homeserver. A row is good for some seconds only: its process writes it again and again.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table homeserver_states (
      homeserver_id uuid not null references homeservers on delete cascade,
      process uuid not null,
      state text not null check (state in ('up', 'down', 'refusing', 'limiting')),
      since timestamptz not null,
      detail text,
      checked_at timestamptz not null default now(),
      primary key (homeserver_id, process)
    );
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop table homeserver_states");
}
