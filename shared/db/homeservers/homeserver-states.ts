import { execute, rowsOf, type Db } from "../connection/open.ts";

/**
 * - `up`: it answers and knows our credential.
 * - `down`: it does not answer.
 * - `refusing`: it answers, and does not know our credential.
 * - `limiting`: it answers, and asks us to slow down.
 */
export type HomeserverState = "up" | "down" | "refusing" | "limiting";

/** How a homeserver is, since when, and why in plain words where it is not up. */
export type HomeserverStatus = { state: HomeserverState; since: Date; detail: string | null };

/** A process writes its rows every few seconds: an older one is of a process that is gone, or has lost Postgres. */
const FRESH = "interval '15 seconds'";
const HOMESERVERS_AT_MOST = 100;

/** Saves how a worker process sees a homeserver. Rows of processes that are long gone are removed. */
export async function saveHomeserverStatus(
  db: Db,
  row: { homeserverId: string; process: string } & HomeserverStatus,
): Promise<void> {
  // The age, not the time: the clocks of the processes differ.
  const ageMs = Math.max(0, Date.now() - row.since.getTime());
  await execute(
    db,
    `with old as (delete from homeserver_states where checked_at < now() - interval '1 hour')
     insert into homeserver_states (homeserver_id, process, state, since, detail, checked_at)
     values (:homeserverId, :process, :state, now() - :ageMs * interval '1 millisecond', :detail, now())
     on conflict (homeserver_id, process) do update
        set state = excluded.state, detail = excluded.detail, checked_at = excluded.checked_at,
            since = case when homeserver_states.state = excluded.state
                    then least(homeserver_states.since, excluded.since) else excluded.since end`,
    { homeserverId: row.homeserverId, process: row.process, state: row.state, detail: row.detail, ageMs },
  );
}

/** Removes the rows of a process that stops. */
export async function removeHomeserverStates(db: Db, process: string): Promise<void> {
  await execute(db, "delete from homeserver_states where process = ?", [process]);
}

export type SeenHomeserver = HomeserverStatus & { name: string };

/**
 * Each homeserver as the workers see it now: of several processes, the one that sees the worst. A homeserver that no worker
 * has looked at for 15 s is absent.
 */
export function readHomeserverStatuses(db: Db): Promise<SeenHomeserver[]> {
  return rowsOf<SeenHomeserver>(
    db,
    `select distinct on (h.server_name) h.server_name as name, s.state, s.since, s.detail
       from homeserver_states s join homeservers h on h.id = s.homeserver_id
      where s.checked_at > now() - ${FRESH}
      order by h.server_name, array_position(array['down', 'refusing', 'limiting', 'up'], s.state), s.since
      limit ${String(HOMESERVERS_AT_MOST)}`,
    [],
  );
}

/** The homeservers of active tenants, by row id. */
export async function listUsedHomeservers(db: Db): Promise<string[]> {
  const rows = await rowsOf<{ id: string }>(
    db,
    `select distinct homeserver_id as id from tenants where status = 'active' limit ${String(HOMESERVERS_AT_MOST)}`,
    [],
  );
  return rows.map(({ id }) => id);
}
