import { readdirSync, readFileSync } from "node:fs";
import type { DemoStack } from "../stack.ts";
import { pause } from "../wait.ts";
import type { Attack } from "./define.ts";
import { openRawClient } from "./raw-client.ts";

const SOCKETS = 40;
const BYTES = 13 * 1_024 * 1_024;
const PING_LIMIT_MS = 10_000;
const WATCH_LIMIT_MS = 90_000;
const EVERY_MS = 250;

/**
 * 40 sockets without a connect that never read send 13 MB of WebSocket pings each. Memory of the realtime process, and how
 * long the sockets stay in it, counted or not.
 */
export const pings: Attack = async (stack, write) => {
  const pid = stack.pids["realtime"] ?? 0;
  const before = { rss: residentMb(pid), files: openFiles(pid) };
  let peak = before.rss;
  const watching = setInterval(() => {
    peak = Math.max(peak, residentMb(pid));
  }, EVERY_MS);
  const clients = await Promise.all(
    Array.from({ length: SOCKETS }, () => openRawClient({ url: stack.socketUrl })),
  );
  const startedAtMs = performance.now();
  for (const { socket } of clients) socket.pause();
  const sending = Promise.all(clients.map((client) => client.sendPings(BYTES, PING_LIMIT_MS)));
  const seconds = () => Math.round((performance.now() - startedAtMs) / 100) / 10;
  let uncountedMost = 0;
  let countedUntilS = 0;
  let openUntilS = 0;
  while (performance.now() - startedAtMs < WATCH_LIMIT_MS) {
    const counted = await countedSockets(stack);
    // The scrape itself is a file too.
    const open = Math.max(0, openFiles(pid) - before.files);
    uncountedMost = Math.max(uncountedMost, open - counted);
    if (counted > 0) countedUntilS = seconds();
    if (open > 2) openUntilS = seconds();
    else if (counted === 0) break;
    await pause(EVERY_MS);
  }
  await sending;
  clearInterval(watching);
  for (const client of clients) client.close();
  write(`${String(SOCKETS)} sockets, ${String(BYTES)} bytes of pings each`);
  return {
    rssBeforeMb: before.rss,
    rssPeakMb: peak,
    countedUntilS,
    openUntilS,
    uncountedMost,
  };
};

/** Sockets that are open or closing, by the metrics. */
async function countedSockets({ socketUrl }: DemoStack): Promise<number> {
  const text = await (await fetch(`http://${new URL(socketUrl).host}/metrics`)).text();
  const read = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
  return read("omc_realtime_connections") + read("omc_realtime_closing");
}

function residentMb(pid: number): number {
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${String(pid)}/status`, "utf8"))?.[1];
  return Math.round(Number(kb) / 1_024);
}

function openFiles(pid: number): number {
  return readdirSync(`/proc/${String(pid)}/fd`).length;
}
