import { randomBytes } from "node:crypto";
import { z } from "zod";
import { openDb, rowsOf } from "../../shared/db/connection/open.ts";
import { nowMs } from "./clock.ts";
import { callOk, createHttp, type Http } from "./http.ts";
import { textOf } from "./lines.ts";

const PREFIX = "/_matrix/client/v3";
const WARM_UP = 300;
const SECONDS = 40;

export type MatrixAccess = { databaseUrl: string; homeserverUrl: string; asToken: string };

/**
 * Messages a second that the homeserver takes from a loop that sends one after the other, in a new room that the same people
 * have joined before.
 */
export async function runBareLoop(access: MatrixAccess, people: readonly string[]): Promise<number> {
  const senders = await readMatrixIds(access.databaseUrl, people);
  const http = createHttp(access.homeserverUrl, 1);
  try {
    const call = createMatrixCall(http, access.asToken);
    const room = await createRoom(call, senders);
    const send = (index: number) =>
      call("PUT", `/rooms/${room}/send/m.room.message/${randomBytes(8).toString("hex")}`, {
        sender: senders[index % senders.length] ?? "",
        body: { msgtype: "m.text", body: textOf(index) },
      });
    for (let index = 0; index < WARM_UP; index++) await send(index);
    const startedAtMs = nowMs();
    let sent = 0;
    while (nowMs() < startedAtMs + SECONDS * 1_000) await send(WARM_UP + sent++);
    return (sent * 1_000) / (nowMs() - startedAtMs);
  } finally {
    http.close();
  }
}

async function readMatrixIds(databaseUrl: string, people: readonly string[]): Promise<string[]> {
  const db = openDb({ url: databaseUrl, name: "bench", max: 1 });
  try {
    const rows = await rowsOf<{ matrix_user_id: string }>(
      db,
      "select matrix_user_id from users where external_id = any(?) and deleted_at is null",
      [people],
    );
    if (rows.length !== people.length) throw new Error("people without an account on Matrix");
    return rows.map((row) => row.matrix_user_id);
  } finally {
    await db.destroy();
  }
}

type MatrixCall = (
  method: "POST" | "PUT",
  path: string,
  options: { sender: string; body: unknown },
) => Promise<unknown>;

/** Calls as the Application Service, in the name of a person and of the device that we use. */
function createMatrixCall(http: Http, asToken: string): MatrixCall {
  return (method, path, { sender, body }) => {
    const query = new URLSearchParams({ user_id: sender, device_id: "OPENMEET" });
    return callOk(http, { method, path: `${PREFIX}${path}?${query.toString()}`, credential: asToken, body });
  };
}

async function createRoom(call: MatrixCall, senders: readonly string[]): Promise<string> {
  const [first = "", ...others] = senders;
  const created = await call("POST", "/createRoom", {
    sender: first,
    body: { preset: "public_chat", room_version: "11" },
  });
  const room = encodeURIComponent(z.object({ room_id: z.string() }).parse(created).room_id);
  for (const sender of others) await call("POST", `/rooms/${room}/join`, { sender, body: {} });
  return room;
}
