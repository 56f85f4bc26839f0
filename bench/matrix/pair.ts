import { createHmac, randomBytes } from "node:crypto";
import { z } from "zod";

/** Two plain Matrix accounts in a room of their own: a conversation without our product. */
export type MatrixPair = {
  /** Sends a text. Resolves when the other's `/sync` has returned it, with the milliseconds since the start. */
  exchange: (text: string) => Promise<number>;
  close: () => void;
};

type Account = { userId: string; token: string };
const account = z.object({ user_id: z.string(), access_token: z.string() });
const syncResponse = z.object({
  next_batch: z.string(),
  rooms: z
    .object({
      join: z.record(
        z.string(),
        z.object({
          timeline: z.object({
            events: z.array(z.object({ content: z.object({ body: z.string().optional() }) })),
          }),
        }),
      ),
    })
    .optional(),
});

const FILTER = JSON.stringify({
  presence: { types: [] },
  account_data: { types: [] },
  room: {
    account_data: { types: [] },
    ephemeral: { types: [] },
    state: { types: [] },
    timeline: { types: ["m.room.message"] },
  },
});

/** Registers the pair with the homeserver's shared secret and starts the receiver's `/sync` loop. */
export async function openMatrixPair(options: {
  homeserverUrl: string;
  registrationSecret: string;
}): Promise<MatrixPair> {
  const { homeserverUrl } = options;
  const sender = await register(options);
  const receiver = await register(options);
  const created = await call(homeserverUrl, sender.token, "POST", "/createRoom", {
    preset: "private_chat",
    invite: [receiver.userId],
    room_version: "11",
  });
  const roomId = z.object({ room_id: z.string() }).parse(created).room_id;
  await call(homeserverUrl, receiver.token, "POST", `/rooms/${encodeURIComponent(roomId)}/join`, {});
  const waiting = new Map<string, () => void>();
  const abort = new AbortController();
  const syncing = runSync(homeserverUrl, receiver.token, abort.signal, (body) => waiting.get(body)?.());
  syncing.catch(() => undefined);
  return {
    exchange: async (text) => {
      const isReceived = new Promise<void>((resolve) => waiting.set(text, resolve));
      const startedAtMs = performance.now();
      const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${randomBytes(8).toString("hex")}`;
      await Promise.all([
        call(homeserverUrl, sender.token, "PUT", path, { msgtype: "m.text", body: text }),
        isReceived,
      ]);
      return performance.now() - startedAtMs;
    },
    close: () => {
      abort.abort();
    },
  };
}

async function runSync(
  homeserverUrl: string,
  token: string,
  signal: AbortSignal,
  onBody: (body: string) => void,
): Promise<void> {
  let since: string | undefined;
  while (!signal.aborted) {
    const query = new URLSearchParams({ filter: FILTER, timeout: since === undefined ? "0" : "10000" });
    if (since !== undefined) query.set("since", since);
    const response = syncResponse.parse(
      await call(homeserverUrl, token, "GET", `/sync?${query.toString()}`, undefined, signal),
    );
    since = response.next_batch;
    for (const room of Object.values(response.rooms?.join ?? {})) {
      for (const event of room.timeline.events)
        if (event.content.body !== undefined) onBody(event.content.body);
    }
  }
}

async function register(options: { homeserverUrl: string; registrationSecret: string }): Promise<Account> {
  const url = `${options.homeserverUrl}/_synapse/admin/v1/register`;
  const { nonce } = z.object({ nonce: z.string() }).parse(await (await fetch(url)).json());
  const username = `bench_${randomBytes(6).toString("hex")}`;
  const password = randomBytes(16).toString("hex");
  const mac = createHmac("sha1", options.registrationSecret)
    .update([nonce, username, password, "notadmin"].join("\0"))
    .digest("hex");
  const body = JSON.stringify({ nonce, username, password, mac, admin: false });
  const response = await fetch(url, { method: "POST", body });
  const answer = account.parse(await response.json());
  return { userId: answer.user_id, token: answer.access_token };
}

async function call(
  homeserverUrl: string,
  token: string,
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<unknown> {
  const response = await fetch(`${homeserverUrl}/_matrix/client/v3${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  });
  if (!response.ok)
    throw new Error(
      `${method} ${path.split("?")[0] ?? ""}: ${String(response.status)} ${await response.text()}`,
    );
  return response.json();
}
