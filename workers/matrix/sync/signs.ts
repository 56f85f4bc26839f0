import { z } from "zod";

/** What passes in one room without being part of its history. `typing`: all who type; null where that has not changed. */
export type RoomSigns = {
  matrixRoomId: string;
  typing: string[] | null;
  receipts: { matrixUserId: string; eventId: string }[];
};

/** The types of such events that we read: a filter of `/sync` names them. */
export const SIGN_TYPES = ["m.typing", "m.receipt"] as const;

const typing = z.object({
  type: z.literal("m.typing"),
  content: z.object({ user_ids: z.array(z.string()) }),
});
const readers = z.record(
  z.string(),
  z
    .object({ thread_id: z.string().optional().catch("of another form") })
    .catch({ thread_id: "of another form" }),
);
const receipt = z.object({
  type: z.literal("m.receipt"),
  content: z.record(z.string(), z.object({ "m.read": readers.optional() }).catch({})),
});

/** People and receipts of one room in one response; a homeserver may send any number. */
const SIGNS_AT_MOST = 1_000;
/** A receipt that counts for the room: without a thread, or for what is in no thread. */
const THREADS: readonly (string | undefined)[] = [undefined, "main"];

/** Reads the signs of one room; other events, and malformed ones, are left out. Null where there is none. */
export function readSigns(matrixRoomId: string, events: readonly unknown[]): RoomSigns | null {
  const lists = events.flatMap((event) => typing.safeParse(event).data?.content ?? []);
  // The list is whole each time: the last one counts.
  const typists = lists.at(-1)?.user_ids ?? null;
  const receipts = events.flatMap((event) =>
    Object.entries(receipt.safeParse(event).data?.content ?? {}).flatMap(
      ([eventId, { "m.read": read = {} }]) =>
        Object.entries(read).flatMap(([matrixUserId, { thread_id: thread }]) =>
          THREADS.includes(thread) ? [{ matrixUserId, eventId }] : [],
        ),
    ),
  );
  if (typists === null && receipts.length === 0) return null;
  return {
    matrixRoomId,
    typing: typists === null ? null : [...new Set(typists)].slice(0, SIGNS_AT_MOST),
    receipts: receipts.slice(0, SIGNS_AT_MOST),
  };
}
