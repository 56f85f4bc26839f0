import { randomBytes } from "node:crypto";
import { z } from "zod";
import { createMatrixCall, readMatrixUsers, type MatrixAccess, type MatrixCall } from "../matrix/access.ts";
import { nowMs } from "./clock.ts";
import { createHttp } from "./http.ts";
import { textOf } from "./lines.ts";

const WARM_UP = 300;
const SECONDS = 30;

/**
 * Messages a second that the homeserver takes from a loop that sends one after the other, in a new room that the same people
 * have joined before.
 */
export async function runBareLoop(access: MatrixAccess, people: readonly string[]): Promise<number> {
  const senders = await readMatrixUsers(access.databaseUrl, people);
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
