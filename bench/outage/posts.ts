import type { AcceptedMessage } from "../scenario/checker.ts";
import { pause } from "../wait.ts";
import type { Talk } from "./rooms.ts";

const PER_SECOND = 5;

export type Posted = AcceptedMessage & { number: number; text: string };

export type Posts = {
  /** What is accepted by now, in the order of the answers. */
  accepted: readonly Posted[];
  /** Stops posting; resolves when all is answered. */
  stop: () => Promise<void>;
};

/** Posts at a steady rate, people and rooms in turn, without waiting for answers. */
export function startPosts({ people, rooms }: Talk): Posts {
  const accepted: Posted[] = [];
  let isOver = false;
  const post = async (index: number) => {
    const room = rooms[(index + Math.floor(index / people.length)) % rooms.length];
    const person = people[index % people.length];
    if (!room || !person) return;
    const text = `A line while Synapse is away: ${room.slug} ${String(index)}`;
    const askedAtMs = performance.now();
    const { id, number } = await person.rest.post(room.key, text, `outage-${String(index)}`);
    if (number === null) throw new Error("a message without a number");
    accepted.push({ id, room: room.key, number, text, askedAtMs, acceptedAtMs: performance.now() });
  };
  const run = async () => {
    const running: Promise<void>[] = [];
    const startedAtMs = performance.now();
    for (let index = 0; !isOver; index++) {
      running.push(post(index));
      await pause(Math.max(0, startedAtMs + ((index + 1) * 1_000) / PER_SECOND - performance.now()));
    }
    await Promise.all(running);
  };
  const ended = run();
  ended.catch(() => undefined);
  return {
    accepted,
    stop: () => {
      isOver = true;
      return ended;
    },
  };
}
