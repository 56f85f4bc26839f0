import type { Knex } from "knex";
import * as tenants from "./0001-tenants.ts";
import * as users from "./0002-users.ts";
import * as rooms from "./0003-rooms.ts";
import * as memberships from "./0004-memberships.ts";
import * as messages from "./0005-messages.ts";
import * as notices from "./0006-notices.ts";
import * as credentials from "./0007-credentials.ts";
import * as successors from "./0008-successors.ts";
import * as requestIds from "./0009-request-ids.ts";
import * as rereadings from "./0010-rereadings.ts";
import * as unknownUsers from "./0011-strangers.ts";
import * as requirements from "./0012-requirements.ts";
import * as attemptsByTime from "./0013-attempts-by-time.ts";
import * as memberCounts from "./0014-member-counts.ts";
import * as roomsByObserver from "./0015-rooms-by-observer.ts";
import * as timelineConsumers from "./0016-timeline-consumers.ts";
import * as tokenValidity from "./0017-token-validity.ts";
import * as pending from "./0018-pending.ts";
import * as removalsOnMatrix from "./0020-removals-on-matrix.ts";
import * as homeserverStates from "./0021-homeserver-states.ts";
import * as deadMessages from "./0023-dead-messages.ts";
import * as numberedAtAcceptance from "./0024-numbered-at-acceptance.ts";
import * as messageEvents from "./0025-message-events.ts";
import * as acts from "./0026-acts.ts";
import * as actIndexes from "./0027-act-indexes.ts";
import * as positions from "./0029-positions.ts";
import * as roomsForPeople from "./0030-rooms-for-people.ts";
import * as fillPositions from "./0031-fill-positions.ts";
import * as rights from "./0032-rights.ts";
import * as renamesAndBlocks from "./0033-renames-and-blocks.ts";
import * as domainEvents from "./0034-domain-events.ts";
import * as people from "./0035-people.ts";
import { runMigrationsAlone } from "../shared/db/connection/run-alone.ts";

type Migration = {
  name: string;
  up: (db: Knex) => Promise<void>;
  down: (db: Knex) => Promise<void>;
  config?: { transaction: boolean };
};

/** Every migration, in order. A migration that is not in this list does not run. */
const MIGRATIONS: readonly Migration[] = [
  { name: "0001-tenants", ...tenants },
  { name: "0002-users", ...users },
  { name: "0003-rooms", ...rooms },
  { name: "0004-memberships", ...memberships },
  { name: "0005-messages", ...messages },
  { name: "0006-notices", ...notices },
  { name: "0007-credentials", ...credentials },
  { name: "0008-successors", ...successors },
  { name: "0009-request-ids", ...requestIds },
  { name: "0010-rereadings", ...rereadings },
  { name: "0011-strangers", ...unknownUsers },
  { name: "0012-requirements", ...requirements },
  { name: "0013-attempts-by-time", ...attemptsByTime },
  { name: "0014-member-counts", ...memberCounts },
  { name: "0015-rooms-by-observer", ...roomsByObserver },
  { name: "0016-timeline-consumers", ...timelineConsumers },
  { name: "0017-token-validity", ...tokenValidity },
  { name: "0018-pending", ...pending },
  { name: "0020-removals-on-matrix", ...removalsOnMatrix },
  { name: "0021-homeserver-states", ...homeserverStates },
  { name: "0023-dead-messages", ...deadMessages },
  { name: "0024-numbered-at-acceptance", ...numberedAtAcceptance },
  { name: "0025-message-events", ...messageEvents },
  { name: "0026-acts", ...acts },
  { name: "0027-act-indexes", ...actIndexes },
  { name: "0029-positions", ...positions },
  { name: "0030-rooms-for-people", ...roomsForPeople },
  { name: "0031-fill-positions", ...fillPositions },
  { name: "0032-rights", ...rights },
  { name: "0033-renames-and-blocks", ...renamesAndBlocks },
  { name: "0034-domain-events", ...domainEvents },
  { name: "0035-people", ...people },
];

const migrationSource: Knex.MigrationSource<Migration> = {
  getMigrations: () => Promise.resolve([...MIGRATIONS]),
  getMigrationName: (migration) => migration.name,
  getMigration: (migration) => Promise.resolve(migration),
};

/**
 * Applies the missing migrations and returns their names. Several processes may call it at the same time: one waits for the
 * other. One that was interrupted goes on with the next call. Migrations of a newer version stay as they are, so that the former
 * version can be started again. The pool has two connections or more.
 */
export function migrateUp(db: Knex): Promise<string[]> {
  return runMigrationsAlone(db, async () => {
    const [, names] = (await db.migrate.latest({
      migrationSource,
      disableMigrationsListValidation: true,
    })) as [number, string[]];
    return names;
  });
}

/**
 * Reverts the last migration. Returns its name, or an empty list when there is none.
 * @throws Error that names the migration, when it belongs to a newer version.
 */
export async function migrateDown(db: Knex): Promise<string[]> {
  const newer = await findNewerMigration(db);
  if (newer !== undefined)
    throw new Error(`the last migration ${newer} is of a newer version: revert it with that version`);
  return runMigrationsAlone(db, async () => {
    const [, names] = (await db.migrate.down({ migrationSource })) as [number, string[]];
    return names;
  });
}

async function findNewerMigration(db: Knex): Promise<string | undefined> {
  const known = new Set(MIGRATIONS.map(({ name }) => name));
  const [applied] = (await db.migrate.list({ migrationSource, disableMigrationsListValidation: true })) as [
    { name: string }[],
    unknown,
  ];
  return applied.map(({ name }) => name).findLast((name) => !known.has(name));
}
