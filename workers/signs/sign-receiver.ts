import type { RoomSigns } from "../matrix/sync/signs.ts";

/** Takes signs over in the background: reading goes on meanwhile. */
export type SignReceiver = {
  add: (signs: readonly RoomSigns[]) => void;
  /** Waits for what is running. */
  drain: () => Promise<void>;
};

/** Rooms that wait; beyond them signs are dropped. */
const ROOMS_AT_MOST = 1_000;

/**
 * Gives what is added to `receive`, one batch at a time, in the order of the rooms. Of a room that is added again meanwhile,
 * the last list of who types and all receipts remain. What fails is reported and not repeated.
 */
export function createSignReceiver(
  receive: (signs: RoomSigns[]) => Promise<void>,
  onError: (error: unknown) => void,
): SignReceiver {
  let waiting = new Map<string, RoomSigns>();
  let running: Promise<void> | null = null;
  const run = async (): Promise<void> => {
    while (waiting.size > 0) {
      const batch = [...waiting.values()];
      waiting = new Map();
      await receive(batch).catch(onError);
    }
  };
  return {
    add(signs) {
      for (const sign of signs) {
        const before = waiting.get(sign.matrixRoomId);
        if (before === undefined && waiting.size >= ROOMS_AT_MOST) continue;
        waiting.set(sign.matrixRoomId, before === undefined ? sign : joinSigns(before, sign));
      }
      if (waiting.size === 0) return;
      running ??= run().finally(() => {
        running = null;
      });
    },
    drain: async () => {
      await running;
    },
  };
}

const RECEIPTS_AT_MOST = 1_000;

/** Pure: two signs of one room, the second later. */
function joinSigns(before: RoomSigns, after: RoomSigns): RoomSigns {
  const receipts = [...before.receipts, ...after.receipts].slice(-RECEIPTS_AT_MOST);
  return { matrixRoomId: after.matrixRoomId, typing: after.typing ?? before.typing, receipts };
}
