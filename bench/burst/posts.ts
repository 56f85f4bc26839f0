import { pause } from "../wait.ts";
import { nowMs } from "./clock.ts";
import type { Crowd } from "./crowd.ts";
import type { Http } from "./http.ts";
import { textOf } from "./lines.ts";

export type Posts = {
  /** When each message was posted, by its index. */
  postedAtMs: number[];
  /** How many were accepted by now. */
  accepted: () => number;
  /** Milliseconds until the answer of each accepted message. */
  answerMs: number[];
  /** The answers to what was not accepted, and how often each came. */
  refused: Map<string, number>;
  /** Resolves when the last message is posted. */
  ended: Promise<void>;
  /** Resolves when all are answered. */
  answered: Promise<unknown>;
};

/** Posts at a steady rate, each message by the next person, without waiting for answers. Repeats nothing. */
export function startPosts(
  http: Http,
  { path, tokens }: Crowd,
  { rate, count }: { rate: number; count: number },
): Posts {
  const postedAtMs: number[] = [];
  const answerMs: number[] = [];
  const refused = new Map<string, number>();
  const refuse = (why: string) => refused.set(why, (refused.get(why) ?? 0) + 1);
  const post = async (index: number) => {
    const startedAtMs = nowMs();
    postedAtMs[index] = startedAtMs;
    try {
      const { status, body } = await http.call({
        method: "POST",
        path: `${path}/messages`,
        credential: tokens[index % tokens.length] ?? "",
        body: { text: textOf(index), clientId: `burst-${String(index)}` },
      });
      if (status >= 300) return void refuse(`${String(status)} ${JSON.stringify(body)}`);
      answerMs.push(nowMs() - startedAtMs);
    } catch (error) {
      refuse(error instanceof Error ? error.message : String(error));
    }
  };
  const running: Promise<void>[] = [];
  const run = async () => {
    const startedAtMs = nowMs();
    for (let index = 0; index < count; index++) {
      const waitMs = startedAtMs + (index * 1_000) / rate - nowMs();
      if (waitMs > 1) await pause(waitMs);
      running.push(post(index));
    }
  };
  const ended = run();
  return {
    postedAtMs,
    accepted: () => answerMs.length,
    answerMs,
    refused,
    ended,
    answered: ended.then(() => Promise.all(running)),
  };
}
