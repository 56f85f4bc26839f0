import { randomBytes } from "node:crypto";
import { openDb, rowsOf, type Db } from "../shared/db/connection/open.ts";
import { runBench, type Options } from "./options.ts";
import { percentile } from "./percentile.ts";
import { createRest } from "./rest.ts";
import { readDemoStack, readStackEnv, SYNAPSE_DATA, type DemoStack } from "./stack.ts";
import { waitFor } from "./wait.ts";

/**
 * `npm run bench:synapse [-- --messages N --rounds N --json]`: messages a second that the real Synapse accepts from us,
 * and from a bare loop of sends in as many rooms at a time with the same Application Service and device. The two alternate.
 * The first round of each does not count: a program that has just started runs slower.
 */
const ROOMS = 10;
const WARM_UP_MESSAGES = 500;
const POLL_MS = 200;
const LIMIT_MS = 300_000;

const NUMBERS = {
  messages: { otherwise: 300, from: ROOMS, to: 100_000 },
  rounds: { otherwise: 8, from: 1, to: 100 },
};

const VARIABLES = ["DATABASE_URL", "SYNAPSE_URL", "SYNAPSE_AS_TOKEN"] as const;
type StackEnv = Record<(typeof VARIABLES)[number], string>;

/** A user in a room of its own, with the ids that both have on Matrix. */
type Sender = {
  roomId: string;
  room: string;
  user: string;
  matrixRoomId: string;
  matrixUserId: string;
};

async function main(options: Options<typeof NUMBERS>): Promise<number> {
  const stack = readDemoStack();
  const env = readStackEnv(VARIABLES, "stack in mode appservice");
  const write = (line: string) => {
    if (!options.json) process.stdout.write(line);
  };
  const db = openDb({ url: env.DATABASE_URL, name: "bench", max: 4 });
  const senders = await createSenders(stack, db);
  const runRound = async (messages: number) => {
    const bare = await sendBare(env, senders, messages);
    return { bare, ours: await sendOurs(stack, db, senders, messages) };
  };
  await runRound(WARM_UP_MESSAGES);
  const rounds: { bare: number; ours: number }[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const { bare, ours } = await runRound(options.messages);
    write(
      `round ${String(round + 1)}: bare=${bare.toFixed(1)}/s ours=${ours.toFixed(1)}/s ours/bare=${(ours / bare).toFixed(2)}\n`,
    );
    rounds.push({ bare, ours });
  }
  await db.destroy();
  const median = (name: "bare" | "ours") =>
    percentile(
      rounds.map((round) => round[name]),
      0.5,
    ) ?? 0;
  const ratio =
    percentile(
      rounds.map(({ bare, ours }) => ours / bare),
      0.5,
    ) ?? 0;
  write(
    `${String(options.messages)} messages a round in ${String(ROOMS)} rooms, ${String(options.rounds)} rounds, in turn; ${SYNAPSE_DATA}\n`,
  );
  write(
    `synapse: bare=${median("bare").toFixed(1)}/s ours=${median("ours").toFixed(1)}/s ours/bare=${ratio.toFixed(2)}\n`,
  );
  if (options.json) process.stdout.write(`${JSON.stringify({ ...options, rounds, ratio })}\n`);
  return 0;
}

/** Rooms that exist, each with a user who has joined: only sends are left. */
async function createSenders(stack: DemoStack, db: Db): Promise<Sender[]> {
  const run = Date.now().toString(36);
  const server = createRest(stack.apiUrl, stack.serverKey);
  return Promise.all(
    Array.from({ length: ROOMS }, async (_, index) => {
      const user = `rate-${run}-${String(index)}`;
      const slug = `rate-${run}-${String(index)}`;
      await server.putRoom(`/v1/rooms/group/${slug}`, { name: "Rate", members: [{ user, role: "member" }] });
      const rest = createRest(stack.apiUrl, await server.token(user));
      const { id } = await rest.post(`group:${slug}`, "first", "first");
      await waitForMessage(db, id);
      const rows = await rowsOf<{ room_id: string; matrix_room_id: string; matrix_user_id: string }>(
        db,
        "select m.room_id, r.matrix_room_id, u.matrix_user_id from messages m join rooms r on r.id = m.room_id join users u on u.id = m.sender_id where m.id = ?",
        [id],
      );
      const row = rows[0];
      if (!row) throw new Error("the first message is missing");
      return {
        roomId: row.room_id,
        room: `group:${slug}`,
        user,
        matrixRoomId: row.matrix_room_id,
        matrixUserId: row.matrix_user_id,
      };
    }),
  );
}

async function sendBare(env: StackEnv, senders: readonly Sender[], messages: number): Promise<number> {
  const startedAtMs = performance.now();
  await Promise.all(
    senders.map(async ({ matrixRoomId, matrixUserId }) => {
      for (let index = 0; index < messages / ROOMS; index++) {
        const transaction = randomBytes(8).toString("hex");
        const path = `/_matrix/client/v3/rooms/${encodeURIComponent(matrixRoomId)}/send/m.room.message/${transaction}`;
        const query = new URLSearchParams({ user_id: matrixUserId, device_id: "OPENMEET" });
        const response = await fetch(`${env.SYNAPSE_URL}${path}?${query.toString()}`, {
          method: "PUT",
          headers: { authorization: `Bearer ${env.SYNAPSE_AS_TOKEN}` },
          body: JSON.stringify({ msgtype: "m.text", body: "bare" }),
        });
        if (!response.ok) throw new Error(`a bare send failed with status ${String(response.status)}`);
        await response.arrayBuffer();
      }
    }),
  );
  return messages / ((performance.now() - startedAtMs) / 1_000);
}

/** From the first post to the last message's mark as sent. */
async function sendOurs(
  stack: DemoStack,
  db: Db,
  senders: readonly Sender[],
  messages: number,
): Promise<number> {
  const server = createRest(stack.apiUrl, stack.serverKey);
  const rests = await Promise.all(
    senders.map(async ({ room, user }) => ({
      room,
      rest: createRest(stack.apiUrl, await server.token(user)),
    })),
  );
  const startedAtMs = performance.now();
  const run = startedAtMs.toFixed(0);
  await Promise.all(
    rests.map(async ({ room, rest }) => {
      for (let index = 0; index < messages / ROOMS; index++) {
        await rest.post(room, "ours", `${run}-${String(index)}`);
      }
    }),
  );
  const endedAtMs = await waitForRooms(
    db,
    senders.map(({ roomId }) => roomId),
  );
  return messages / ((endedAtMs - startedAtMs) / 1_000);
}

function waitForMessage(db: Db, id: string): Promise<void> {
  return waitFor(LIMIT_MS, "the message is sent", async () => {
    const rows = await rowsOf(db, "select 1 from messages where id = ? and status = 'sent'", [id]);
    return rows.length > 0;
  });
}

/** When the last message was marked as sent. It polls seldom: the query's cost counts as ours. */
async function waitForRooms(db: Db, roomIds: readonly string[]): Promise<number> {
  let endedAtMs = 0;
  await waitFor(
    LIMIT_MS,
    "all messages are sent",
    async () => {
      const [row] = await rowsOf<{ left: number; ago_ms: number }>(
        db,
        `select count(*) filter (where open and status in ('queued', 'sending')) as left,
                cast(extract(epoch from clock_timestamp() - max(sent_at)) * 1000 as float8) as ago_ms
           from messages where room_id = any(?)`,
        [roomIds],
      );
      endedAtMs = performance.now() - (row?.ago_ms ?? 0);
      return row?.left === 0;
    },
    POLL_MS,
  );
  return endedAtMs;
}

await runBench(NUMBERS, main);
