import { percentile } from "../percentile.ts";
import { pause, runInFlight } from "../wait.ts";
import { ensureConnectableUsers } from "./connectable-users.ts";
import type { Attack } from "./define.ts";
import { openRawClient, type RawClient } from "./raw-client.ts";

const FLOOD = 20_000;
const FLOOD_AT_ONCE = 200;
/** Sockets of the flood that this process keeps open; beyond it the files that a process may have open end. */
const KEPT = 16_000;
const OTHERS = 500;
const OTHER_EVERY_MS = 50;
const CONNECTS = 8_000;
const CONNECTS_AT_ONCE = 500;
/** The clients' own limit for a reply. */
const REPLY_LIMIT_MS = 5_000;
/** Source addresses on loopback: the limits of one address are not what is measured. */
const FLOOD_ADDRESSES = 4;
const ADDRESSES = 20;

type Outcome = { isConnected: boolean; ms: number; client: RawClient | null };

/**
 * One token opens 20,000 sockets while users of another tenant connect, one after the other. Then 8,000 users connect,
 * 500 at once. Sources are several addresses of loopback.
 */
export const sockets: Attack = async ({ socketUrl: url }, write) => {
  const one = await ensureConnectableUsers("attack-sockets-one", 1);
  const other = await ensureConnectableUsers("attack-sockets-other", CONNECTS);
  const before = await connectOthers(url, other.tokens, () => false, 40);
  write(`another tenant's connects alone: p50 ${String(before.p50Ms)} ms`);
  const flood = runFlood(url, one.tokens[0] ?? "");
  let isFlooding = true;
  const flooded = flood.done.finally(() => (isFlooding = false));
  const during = await connectOthers(url, other.tokens, () => !isFlooding, OTHERS);
  const counts = await flooded;
  // The last closes arrive.
  await pause(1_000);
  const floodOpenAtEnd = flood.open();
  flood.close();
  write(`flood: ${JSON.stringify(counts)}, ${JSON.stringify(during)}`);
  await pause(20_000);
  const mass = await connectMany(url, other.tokens);
  return {
    aloneP50Ms: before.p50Ms,
    floodConnected: counts.connected,
    floodRefused: counts.refused,
    floodOpenAtEnd,
    floodSeconds: counts.seconds,
    othersConnected: during.connected,
    othersFailed: during.failed,
    othersP50Ms: during.p50Ms,
    othersP95Ms: during.p95Ms,
    othersMaxMs: during.maxMs,
    manyConnected: mass.connected,
    manySeconds: mass.seconds,
    manyP50Ms: mass.p50Ms,
    manyP95Ms: mass.p95Ms,
  };
};

function runFlood(url: string, token: string) {
  const open = new Set<RawClient>();
  let connected = 0;
  let refused = 0;
  const work = async (index: number) => {
    if (open.size >= KEPT) return;
    const { isConnected, client } = await connectOnce(
      url,
      `127.0.1.${String(1 + (index % FLOOD_ADDRESSES))}`,
      token,
      (ended) => open.delete(ended),
    );
    if (isConnected) connected += 1;
    else refused += 1;
    if (isConnected && client && !client.socket.destroyed) open.add(client);
    else client?.close();
  };
  const done = runInFlight(FLOOD, FLOOD_AT_ONCE, work).then((seconds) => ({
    connected,
    refused,
    seconds: round(seconds),
  }));
  return { done, open: () => open.size, close: () => [...open].forEach((client) => client.close()) };
}

async function connectOthers(url: string, tokens: readonly string[], isOver: () => boolean, count: number) {
  const times: number[] = [];
  const running: Promise<void>[] = [];
  let failed = 0;
  for (let index = 0; index < count && !isOver(); index++) {
    const token = tokens[index % tokens.length] ?? "";
    running.push(
      connectOnce(url, `127.0.2.${String(1 + (index % ADDRESSES))}`, token).then(
        ({ isConnected, ms, client }) => {
          client?.close();
          if (isConnected) times.push(ms);
          else failed += 1;
        },
      ),
    );
    await pause(OTHER_EVERY_MS);
  }
  await Promise.all(running);
  return { connected: times.length, failed, ...summarise(times) };
}

async function connectMany(url: string, tokens: readonly string[]) {
  const clients: RawClient[] = [];
  const times: number[] = [];
  let connected = 0;
  const seconds = await runInFlight(CONNECTS, CONNECTS_AT_ONCE, async (index) => {
    const outcome = await connectOnce(url, `127.0.3.${String(1 + (index % ADDRESSES))}`, tokens[index] ?? "");
    if (outcome.client) clients.push(outcome.client);
    if (!outcome.isConnected) return;
    connected += 1;
    times.push(outcome.ms);
  });
  for (const client of clients) client.close();
  return { connected, seconds: round(seconds), ...summarise(times) };
}

/** Opens a socket and connects with a token; `ms` until the reply, or until it failed. */
async function connectOnce(
  url: string,
  from: string,
  token: string,
  onEnd?: (client: RawClient) => void,
): Promise<Outcome> {
  const startedAtMs = performance.now();
  let finish: (isConnected: boolean) => void = () => undefined;
  const answered = new Promise<boolean>((resolve) => (finish = resolve));
  const timer = setTimeout(() => {
    finish(false);
  }, REPLY_LIMIT_MS);
  let client: RawClient | null = null;
  try {
    client = await openRawClient({
      url,
      from,
      onText: (text) => {
        if (text.startsWith('{"id":1,"connect"')) finish(true);
        else if (text.startsWith('{"id":1,"error"')) finish(false);
        else if (text === "{}") client?.sendText("{}");
      },
      onEnd: () => {
        finish(false);
        if (client) onEnd?.(client);
      },
    });
    client.sendText(JSON.stringify({ id: 1, connect: { token } }));
  } catch {
    finish(false);
  }
  const isConnected = await answered;
  clearTimeout(timer);
  return { isConnected, ms: performance.now() - startedAtMs, client };
}

function summarise(times: readonly number[]) {
  return {
    p50Ms: Math.round(percentile(times, 0.5) ?? 0),
    p95Ms: Math.round(percentile(times, 0.95) ?? 0),
    maxMs: Math.round(percentile(times, 1) ?? 0),
  };
}

const round = (seconds: number) => Math.round(seconds * 100) / 100;
