import { z } from "zod";
import type { Requester } from "../http/client.ts";
import { MatrixFailure } from "../http/failure.ts";
import type { Homeserver } from "./homeserver.ts";

/** The version of new rooms where the homeserver calls it stable. */
const PREFERRED = "12";
/** The version of new rooms everywhere else. */
const FALLBACK = "11";

/** A homeserver that is upgraded or configured differently is noticed after this. */
const MAX_AGE_MS = 600_000;
/** The same where the homeserver does not know the call: a proxy may have sent it to the wrong place. */
const UNKNOWN_CALL_MAX_AGE_MS = 60_000;

const capabilities = z.object({
  capabilities: z
    .object({
      "m.room_versions": z.object({ available: z.record(z.string(), z.string()) }).optional(),
    })
    .optional(),
});

/** The version of new rooms, by what the homeserver answers to `/capabilities`. */
export function chooseRoomVersion(answer: unknown): string {
  const parsed = capabilities.safeParse(answer);
  const available = parsed.data?.capabilities?.["m.room_versions"]?.available;
  return available?.[PREFERRED] === "stable" ? PREFERRED : FALLBACK;
}

/** The version in which a homeserver's new rooms are created. @throws MatrixFailure when the homeserver does not answer */
export type NewRoomVersion = (
  homeserver: Pick<Homeserver, "id">,
  request: Requester,
  nowMs?: number,
) => Promise<string>;

/** Asks each homeserver once in ten minutes. A homeserver that does not know the call gets rooms of version 11. */
export function createNewRoomVersion(): NewRoomVersion {
  const known = new Map<string, { version: string; untilMs: number }>();
  return async (homeserver, request, nowMs = performance.now()) => {
    const found = known.get(homeserver.id);
    if (found && nowMs < found.untilMs) return found.version;
    const answer = await request({ method: "GET", path: "/capabilities" }).catch(nullIfUnknownCall);
    const version = chooseRoomVersion(answer);
    const maxAgeMs = answer === null ? UNKNOWN_CALL_MAX_AGE_MS : MAX_AGE_MS;
    known.set(homeserver.id, { version, untilMs: nowMs + maxAgeMs });
    return version;
  };
}

function nullIfUnknownCall(error: unknown): null {
  const isUnknown = error instanceof MatrixFailure && (error.httpStatus === 404 || error.httpStatus === 405);
  if (isUnknown) return null;
  throw error;
}
