import { z } from "zod";
import { nowMs } from "./clock.ts";
import type { Crowd } from "./crowd.ts";
import { callOk, type Http } from "./http.ts";
import { indexOf } from "./lines.ts";
import type { Posts } from "./posts.ts";

const page = z.object({
  items: z.array(z.object({ number: z.int(), text: z.string() })),
});

/** What somebody who opens the room sees. */
export type OpenedPage = {
  /** Seconds since the first post. */
  afterS: number;
  /** How long ago the newest message of the page was posted; null when it is older than the burst. */
  newestAgeMs: number | null;
  /** Messages that were accepted before the page was asked for and are not in the history. */
  missing: number;
  answerMs: number;
};

/** Loads the newest page as the last of the people. */
export async function openPage(http: Http, crowd: Crowd, posts: Posts): Promise<OpenedPage> {
  const askedAtMs = nowMs();
  const accepted = posts.accepted();
  const { items } = page.parse(
    await callOk(http, {
      method: "GET",
      path: `${crowd.path}/messages`,
      credential: crowd.tokens.at(-1) ?? "",
    }),
  );
  const newest = items.at(-1);
  const index = newest === undefined ? null : indexOf(newest.text);
  const postedAtMs = index === null ? undefined : posts.postedAtMs[index];
  return {
    afterS: (askedAtMs - (posts.postedAtMs[0] ?? askedAtMs)) / 1_000,
    newestAgeMs: postedAtMs === undefined ? null : askedAtMs - postedAtMs,
    missing: Math.max(0, accepted - ((newest?.number ?? 0) - crowd.startNumber)),
    answerMs: nowMs() - askedAtMs,
  };
}
