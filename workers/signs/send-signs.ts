import { findSignTargets, type SignTarget } from "../../shared/db/memberships/signs/signs.ts";
import { every, type Repeating } from "../../shared/platform/concurrency/every.ts";
import { takeSigns, type Sign } from "../../shared/timeline/signs/take-signs.ts";
import { endExpiredTyping } from "../../shared/timeline/signs/typing.ts";
import type { MatrixCall } from "../matrix/http/client.ts";
import { roomPath } from "../matrix/rooms/room-path.ts";
import type { WorkerContext } from "../runtime/context.ts";

const EVERY_MS = 500;
/** Rooms whose lists of who types are looked at in one round. */
const ROOMS_AT_ONCE = 500;
/** Calls that run at once. */
const CALLS_AT_ONCE = 10;
/** Short: a sign that comes late is worth nothing. */
const CALL_TIMEOUT_MS = 3_000;
/** For how long Matrix shows that a person types: until the next time that it may be said, and some seconds more. */
const TYPING_MS = 12_000;

type SendContext = Pick<WorkerContext, "db" | "redis" | "homeserver" | "metrics" | "log">;

/**
 * Brings signs to Matrix twice a second: who is typing, and who has read what. Outside the lease of a room, and without a
 * join: only for people who are joined there. What fails is dropped. It also ends the typing of those whose time is over.
 */
export function startSigns(context: SendContext): Repeating {
  return every(
    EVERY_MS,
    () => sendSignsOnce(context),
    (error) => {
      context.log.debug({ err: error }, "sending signs failed");
    },
  );
}

/** One round. @throws what Redis or Postgres throws */
export async function sendSignsOnce(context: SendContext): Promise<void> {
  await endExpiredTyping(context.redis, Date.now(), ROOMS_AT_ONCE);
  const signs = await takeSigns(context.redis);
  if (signs.length === 0) return;
  const targets = new Map((await findSignTargets(context.db, signs)).map((row) => [keyOf(row), row]));
  const calls = signs.flatMap((sign) => {
    const target = targets.get(`${sign.roomId} ${sign.userId}`);
    return target === undefined ? [] : toCalls(sign, target).map((call) => ({ target, call }));
  });
  for (let next = 0; next < calls.length; next += CALLS_AT_ONCE)
    await Promise.all(
      calls.slice(next, next + CALLS_AT_ONCE).map(({ target, call }) => send(context, target, call)),
    );
}

function keyOf(target: SignTarget): string {
  return `${target.room_id} ${target.user_id}`;
}

/** Pure: the calls for what is new of one person in one room. */
function toCalls({ isTyping }: Sign, target: SignTarget): MatrixCall[] {
  const { matrix_room_id: room, matrix_user_id: user, event_id: eventId } = target;
  const typing: MatrixCall = {
    method: "PUT",
    path: roomPath(room, `typing/${encodeURIComponent(user)}`),
    body: isTyping === true ? { typing: true, timeout: TYPING_MS } : { typing: false },
  };
  const receipt = (event: string): MatrixCall => ({
    method: "POST",
    path: roomPath(room, `receipt/m.read/${encodeURIComponent(event)}`),
    body: { thread_id: "main" },
  });
  return [...(isTyping === null ? [] : [typing]), ...(eventId === null ? [] : [receipt(eventId)])];
}

/** Never throws: nothing depends on a sign. */
async function send(
  { homeserver, metrics, log }: SendContext,
  target: SignTarget,
  call: MatrixCall,
): Promise<void> {
  try {
    const request = await (await homeserver(target.homeserver_id)).as(target.matrix_user_id);
    await request({ ...call, timeoutMs: CALL_TIMEOUT_MS });
    metrics.signs.inc({ outcome: "sent" });
  } catch (error) {
    metrics.signs.inc({ outcome: "dropped" });
    log.debug({ err: error, room: target.room_id }, "a sign did not reach Matrix");
  }
}
