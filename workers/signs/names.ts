import { z } from "zod";
import type { Requester } from "../matrix/http/client.ts";
import { EventType } from "../matrix/names.ts";
import { getState } from "../matrix/rooms/state.ts";

/** The name of a person whom the tenant does not know, in one room; null where there is none. */
export type NameOf = (matrixRoomId: string, matrixUserId: string) => Promise<string | null>;

const TIMEOUT_MS = 2_000;
const KEPT_MS = 60_000;
const KEPT_AT_MOST = 1_000;
const NAME_MAX_LENGTH = 256;

/** Asks the homeserver for names, and keeps each for a minute: who types is read every few seconds. Never throws. */
export function createNameOf(request: () => Promise<Requester>, now: () => number): NameOf {
  const kept = new Map<string, { name: Promise<string | null>; untilMs: number }>();
  const ask: NameOf = async (matrixRoomId, matrixUserId) => {
    try {
      const call = await request();
      const limited: Requester = (one) => call({ ...one, timeoutMs: TIMEOUT_MS });
      return readName(
        await getState(limited, { matrixRoomId, type: EventType.RoomMember, key: matrixUserId }),
      );
    } catch {
      // Somebody types all the same.
      return null;
    }
  };
  return (matrixRoomId, matrixUserId) => {
    const key = `${matrixRoomId} ${matrixUserId}`;
    const known = kept.get(key);
    if (known && known.untilMs > now()) return known.name;
    if (kept.size >= KEPT_AT_MOST) kept.clear();
    const name = ask(matrixRoomId, matrixUserId);
    kept.set(key, { name, untilMs: now() + KEPT_MS });
    return name;
  };
}

function readName(content: unknown): string | null {
  const { data } = z.object({ displayname: z.string() }).safeParse(content);
  // Made well-formed last: the cut may split a character.
  const safe = (data?.displayname ?? "").replaceAll("\0", "").slice(0, NAME_MAX_LENGTH).toWellFormed();
  return safe === "" ? null : safe;
}
