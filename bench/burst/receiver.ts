import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { ArrivalCounts } from "./arrivals.ts";

/** One socket for each token; the messages that count have the indexes 0 … `messages - 1`. */
export const receiverTask = z.object({
  socketUrl: z.string(),
  room: z.string(),
  tokens: z.array(z.string()),
  messages: z.int(),
});
export type ReceiverTask = z.infer<typeof receiverTask>;

/** `closed` counts the sockets that the server has ended. */
export type Received = ArrivalCounts & { closed: number };

const times = z.array(z.number().nullable());
const fromReceiver = z.discriminatedUnion("type", [
  z.object({ type: z.literal("connected") }),
  z.object({ type: z.literal("progress"), numbered: z.int() }),
  z.object({
    type: z.literal("result"),
    closed: z.int(),
    numberedAtMs: times,
    lost: z.int(),
    doubled: z.int(),
    reordered: z.int(),
  }),
]);
export type FromReceiver = z.infer<typeof fromReceiver>;

export type Receiver = {
  /** How many messages every socket has received with their number, a moment ago. */
  numbered: () => number;
  /** Closes the sockets. Returns what they received. */
  stop: () => Promise<Received>;
};

/** Starts the process of the sockets; resolves when every one is connected. @throws when the process ends before. */
export async function startReceiver(task: ReceiverTask): Promise<Receiver> {
  const child = fork(fileURLToPath(new URL("./receiver-child.js", import.meta.url)));
  let numbered = 0;
  let finish: (result: Received) => void = () => undefined;
  const result = new Promise<Received>((resolve) => (finish = resolve));
  const ended = new Promise<never>((_, reject) => {
    child.once("exit", (code) => {
      reject(new Error(`the process of the sockets ended with ${String(code)}`));
    });
  });
  ended.catch(() => undefined);
  const connected = new Promise<void>((resolve) => {
    child.on("message", (message) => {
      const report = fromReceiver.parse(message);
      if (report.type === "connected") resolve();
      else if (report.type === "progress") numbered = report.numbered;
      else finish(report);
    });
  });
  child.send(task);
  await Promise.race([connected, ended]);
  return {
    numbered: () => numbered,
    stop: () => {
      child.send("stop");
      return Promise.race([result, ended]);
    },
  };
}
