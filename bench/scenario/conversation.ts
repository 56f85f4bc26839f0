import { createRest } from "../rest.ts";
import type { DemoStack } from "../stack.ts";
import { holdsWithin, pause } from "../wait.ts";
import type { DeliveryTimes, ScenarioMessage } from "./delivery-times.ts";
import { textOf, type Room } from "./fixtures.ts";

export type ConversationOptions = { messages: number; kill: "workers" | "sync" | "realtime" | null };

/** Between two messages of one room. Without it, the latency is the time in the queue. */
const PAUSE_MS = 120;
export const DELIVERY_LIMIT_MS = 90_000;

/**
 * The members of every room post in turn, the rooms side by side. With `kill`, a process is killed after half of the
 * messages.
 */
export async function runConversation(
  stack: DemoStack,
  options: ConversationOptions,
  {
    rooms,
    tokens,
    times,
    write,
  }: {
    rooms: readonly Room[];
    tokens: ReadonlyMap<string, string>;
    times: DeliveryTimes;
    write: (line: string) => void;
  },
): Promise<ScenarioMessage[]> {
  const accepted: ScenarioMessage[] = [];
  let asked = 0;
  const killAt = options.kill === null ? Number.POSITIVE_INFINITY : Math.floor(options.messages / 2);
  const postInRoom = async (room: Room): Promise<void> => {
    for (let round = 0; asked < options.messages; round++) {
      const index = asked++;
      if (index === killAt) write(killTier(stack, options.kill, times));
      const sender = room.members[round % room.members.length]?.user ?? "";
      const rest = createRest(stack.apiUrl, tokens.get(sender) ?? "");
      const askedAtMs = performance.now();
      const clientId = `demo-${String(index)}-${room.key.slice(0, 60)}`;
      const { id, number } = await rest.post(room.key, textOf(index), clientId);
      const isFirst = round < room.members.length;
      const message = {
        id,
        number: number ?? 0,
        room: room.key,
        askedAtMs,
        acceptedAtMs: performance.now(),
        isFirst,
      };
      accepted.push(message);
      times.recordAccepted(message);
      // Every member has posted once. The next message waits until the room, the accounts and the joins are made.
      if (round === room.members.length - 1)
        await holdsWithin(DELIVERY_LIMIT_MS, () => times.isSent(message));
      await pause(PAUSE_MS);
    }
  };
  await Promise.all(rooms.map(postInRoom));
  return accepted;
}

/** Returns the line that reports it. */
function killTier(stack: DemoStack, tier: ConversationOptions["kill"], times: DeliveryTimes): string {
  const pid = tier === null ? undefined : stack.pids[tier];
  if (pid === undefined) throw new Error(`the stack names no process for ${String(tier)}`);
  process.kill(pid, "SIGKILL");
  times.recordKill(performance.now(), tier === "realtime" ? "delivered" : "sent");
  return `killed ${String(tier)} (process ${String(pid)}) with -9`;
}
