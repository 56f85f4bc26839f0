import type { Db } from "../../shared/db/connection/open.ts";
import { percentile } from "../percentile.ts";
import type { Fixture } from "./fixture.ts";

/** Milliseconds. */
export type Times = { what: string; p50: number; p99: number };

const WARM_UP = 20;

/** What a person reads, one call after the other, and a bare query through a pool of the same kind. */
export async function measureReads(
  { db, url, fixture }: { db: Db; url: string; fixture: Fixture },
  calls: number,
): Promise<Times[]> {
  const headers = { authorization: `Bearer ${fixture.token}` };
  const get = async (path: string): Promise<void> => {
    const response = await fetch(url + path, { headers });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${path}: ${String(response.status)} ${text}`);
  };
  const main = "/v1/rooms/group/main";
  const reads: [what: string, read: () => Promise<unknown>][] = [
    ["select 1", () => db.raw("select 1")],
    ["me/rooms", () => get("/v1/me/rooms?limit=50")],
    ["a page", () => get(`${main}/messages?limit=50`)],
    ["around", () => get(`${main}/messages?around=${String(fixture.middle)}&limit=50`)],
    ["unread totals", () => get("/v1/me/unread")],
    ["members", () => get(`${main}/members?limit=50`)],
    ["directory", () => get("/v1/rooms?visibility=public&q=room&limit=50")],
  ];
  const times: Times[] = [];
  for (const [what, read] of reads) times.push({ what, ...(await measure(read, calls)) });
  return times;
}

async function measure(read: () => Promise<unknown>, calls: number): Promise<Omit<Times, "what">> {
  for (let call = 0; call < WARM_UP; call++) await read();
  const taken: number[] = [];
  for (let call = 0; call < calls; call++) {
    const startMs = performance.now();
    await read();
    taken.push(performance.now() - startMs);
  }
  return { p50: percentile(taken, 0.5) ?? 0, p99: percentile(taken, 0.99) ?? 0 };
}
