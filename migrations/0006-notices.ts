import type { Knex } from "knex";

// The user-event outbox: events for realtime processes and connected users, kept until Redis has accepted them.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table notices (
      id uuid primary key,
      tenant_id uuid not null,
      kind text not null check (kind in ('room.added', 'room.removed', 'user.gone')),
      user_id uuid not null references users,
      room_id uuid references rooms,
      created_at timestamptz not null default now()
    );
    create index notices_age on notices (created_at);
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop table notices");
}
