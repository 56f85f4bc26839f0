import { openDb, rowsOf } from "../../shared/db/connection/open.ts";
import { callOk, type Http, type HttpCall } from "../burst/http.ts";
import { readStackEnv } from "../stack.ts";

const PREFIX = "/_matrix/client/v3";

export type MatrixAccess = { databaseUrl: string; homeserverUrl: string; asToken: string };

/** @throws NoStack without a stack in mode appservice */
export function readMatrixAccess(): MatrixAccess {
  const env = readStackEnv(["DATABASE_URL", "SYNAPSE_URL", "SYNAPSE_AS_TOKEN"], "stack in mode appservice");
  return { databaseUrl: env.DATABASE_URL, homeserverUrl: env.SYNAPSE_URL, asToken: env.SYNAPSE_AS_TOKEN };
}

export type MatrixCall = (
  method: HttpCall["method"],
  path: string,
  options: { sender: string; body?: unknown },
) => Promise<unknown>;

/** Calls as the Application Service, in the name of a person and of the device that we use. */
export function createMatrixCall(http: Http, asToken: string): MatrixCall {
  return (method, path, { sender, body }) => {
    const query = new URLSearchParams({ user_id: sender, device_id: "OPENMEET" });
    const separator = path.includes("?") ? "&" : "?";
    const url = `${PREFIX}${path}${separator}${query.toString()}`;
    return callOk(http, { method, path: url, credential: asToken, body });
  };
}

/** The ids that people have on Matrix, in the order given. @throws when one has none */
export async function readMatrixUsers(databaseUrl: string, people: readonly string[]): Promise<string[]> {
  const sql = `select external_id as name, matrix_user_id as id from users
    where external_id = any(?) and matrix_user_id is not null and deleted_at is null`;
  return readIds(databaseUrl, sql, people);
}

/** The same for rooms, by slug. */
export async function readMatrixRooms(databaseUrl: string, slugs: readonly string[]): Promise<string[]> {
  const sql =
    "select slug as name, matrix_room_id as id from rooms where slug = any(?) and matrix_room_id is not null";
  return readIds(databaseUrl, sql, slugs);
}

async function readIds(databaseUrl: string, sql: string, names: readonly string[]): Promise<string[]> {
  const db = openDb({ url: databaseUrl, name: "bench", max: 1 });
  try {
    const rows = await rowsOf<{ name: string; id: string }>(db, sql, [names]);
    const ids = new Map(rows.map(({ name, id }) => [name, id]));
    return names.map((name) => {
      const id = ids.get(name);
      if (id === undefined) throw new Error(`${name} is not on Matrix`);
      return id;
    });
  } finally {
    await db.destroy();
  }
}
