import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const run = promisify(execFile);
const login = z.object({
  homeserverUrl: z.string(),
  matrixUserId: z.string(),
  deviceId: z.string(),
  accessToken: z.string(),
});
const joined = z.object({ joined_rooms: z.array(z.string()) });

/** A plain Matrix client: it uses no code of ours. */
export type MatrixClient = { post: (roomName: string, text: string) => Promise<void> };

/** Logs in as a user of the tenant `demo` with `npm run admin -- matrix login`. */
export async function openMatrixClient(user: string): Promise<MatrixClient> {
  const admin = fileURLToPath(new URL("../../workers/admin.js", import.meta.url));
  const { stdout } = await run(process.execPath, [
    admin,
    "matrix",
    "login",
    "--tenant",
    "demo",
    "--user",
    user,
    "--json",
  ]);
  const { homeserverUrl, accessToken } = login.parse(JSON.parse(stdout));
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const response = await fetch(`${homeserverUrl}/_matrix/client/v3${path}`, {
      method,
      headers: { authorization: `Bearer ${accessToken}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    if (!response.ok) throw new Error(`the homeserver answered ${String(response.status)}`);
    return response.json();
  };
  return {
    post: async (roomName, text) => {
      const room = await findRoom(call, roomName);
      const transaction = `demo-${String(Date.now())}`;
      await call("PUT", `/rooms/${encodeURIComponent(room)}/send/m.room.message/${transaction}`, {
        msgtype: "m.text",
        body: text,
      });
    },
  };
}

type MatrixCall = (method: string, path: string, body?: unknown) => Promise<unknown>;

async function findRoom(call: MatrixCall, name: string): Promise<string> {
  const { joined_rooms: rooms } = joined.parse(await call("GET", "/joined_rooms"));
  for (const room of rooms.reverse()) {
    const state = await call("GET", `/rooms/${encodeURIComponent(room)}/state/m.room.name`);
    if (z.object({ name: z.string() }).parse(state).name === name) return room;
  }
  throw new Error(`the Matrix client is in no room called ${name}`);
}
