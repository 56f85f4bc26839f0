import type { Content } from "../../../contract/content/index.ts";
import { noteMentions } from "../../memberships/mentions/mentions.ts";
import {
  acceptAct,
  describeActs,
  lockTouched,
  readActed,
  toActRow,
  type ActedRow,
  type ActOutcome,
  type ActRow,
  type NewAct,
  type WrittenAct,
} from "../../acts/accept-acts.ts";
import { isLockTimeout } from "../../connection/failures.ts";
import type { Db } from "../../connection/open.ts";
import { transactPipelined } from "../../connection/pipelined-transaction.ts";
import { lockRooms } from "../../rooms/lock-rooms.ts";
import {
  acceptStatement,
  describeMessages,
  INPUT,
  ROOM_LOCKED,
  toInputRow,
  type InputRow,
  type NewMessage,
  type Written,
} from "./accept-statement.ts";
import type { AcceptedRow } from "./accepted-row.ts";

export type { Acceptance, Accepted, NewMessage, Written } from "./accept-statement.ts";

/** Who waits for a lock for longer tries again: meanwhile it has a connection. */
const LOCK_WAIT_MS = 250;

/** A room without messages that wait. */
export type IdleRoom = { tenantId: string; roomId: string };

type OnLocked = (idle: readonly IdleRoom[]) => void;
type Options = { skipsLocked?: boolean };

/** What a batch accepts: messages, and acts on earlier ones. */
export type NewRequest = NewMessage | NewAct;

function isAct(request: NewRequest): request is NewAct {
  return "act" in request;
}

/**
 * Accepts messages and acts in one transaction: first the messages in the given order, each with its room's next order number
 * and an entry with the next number of its room's timeline, then the acts in theirs. The rooms' outboxes and timelines are
 * locked first, in id order, so that a member's removal comes either before the message (which is refused) or after it (and
 * marks it dead). Returns the outcomes in the given order. The caller publishes the entries.
 *
 * `skipsLocked`: the requests of rooms that another transaction locks are `room_locked`, at once. Without it the locks are
 * waited for, each for 250 ms; then all are.
 *
 * `onLocked` gets the rooms without messages that wait, to wake them while the transaction still runs: the drain waits
 * for the lock and then sees the messages. In the other rooms a drain is awake already; it sends these messages too, or
 * wakes the room when it releases the lease.
 */
export async function acceptAll(
  db: Db,
  requests: readonly NewRequest[],
  onLocked: OnLocked = () => undefined,
  { skipsLocked = false }: Options = {},
): Promise<(Written | WrittenAct)[]> {
  const messages = requests.flatMap((request) => (isAct(request) ? [] : [request])).map(toInputRow);
  const acts = requests.flatMap((request) => (isAct(request) ? [request] : [])).map(toActRow);
  try {
    const read = await write(db, { messages, acts }, onLocked, skipsLocked);
    const locked = new Set(read.rooms.map(({ roomId }) => roomId));
    const written = await describeMessages(db, messages, { ...read, locked });
    const acted = await describeActs(db, acts, { ...read, locked });
    const next = { message: 0, act: 0 };
    return requests.map((request) => {
      const row = isAct(request) ? acts[next.act++] : undefined;
      const outcome = row ? acted.get(row.id) : written[next.message++];
      if (!outcome) throw new Error("a request has no outcome");
      return outcome;
    });
  } catch (error) {
    if (isLockTimeout(error)) return requests.map(() => ROOM_LOCKED);
    throw error;
  }
}

/** `acceptAll` of messages alone. */
export async function acceptMessages(
  db: Db,
  messages: readonly NewMessage[],
  onLocked?: OnLocked,
  options?: Options,
): Promise<Written[]> {
  return (await acceptAll(db, messages, onLocked, options)) as Written[];
}

type LockedRoom = IdleRoom & { kind: string; slug: string; isIdle: boolean };
type Rows = { messages: readonly InputRow[]; acts: readonly ActRow[] };

/** A batch without acts sends what concerns messages alone. */
async function write(db: Db, { messages, acts }: Rows, onLocked: OnLocked, skipsLocked: boolean) {
  const input = JSON.stringify(messages);
  const lockInput = acts.length === 0 ? input : JSON.stringify([...messages, ...acts]);
  const before = [
    { sql: skipsLocked ? LOCK_FREE_ROOMS : LOCK_ROOMS, bindings: { input: lockInput } },
    ...(messages.length === 0 ? [] : [acceptStatement(input)]),
    ...lockTouched(acts),
  ];
  const mentioning = messages.flatMap(({ id, content }) => (mayMention(content) ? [id] : []));
  const after = [
    ...(mentioning.length === 0 ? [] : [noteMentions(mentioning)]),
    ...(acts.length === 0 ? [] : [readActed(acts)]),
  ];
  const results = await transactPipelined<[LockedRoom[], ...unknown[][]]>(
    db,
    [...before, ...acts.map(acceptAct), ...after],
    {
      onFirst: (rooms) => {
        onLocked(rooms.filter(({ isIdle }) => isIdle));
      },
      lockWaitMs: LOCK_WAIT_MS,
    },
  );
  return {
    rooms: results[0],
    accepted: (messages.length === 0 ? [] : results[1]) as AcceptedRow[],
    outcomes: results.slice(before.length, before.length + acts.length).flat() as ActOutcome[],
    entries: (acts.length === 0 ? [] : results.at(-1)) as ActedRow[],
  };
}

/** Most messages do not: their batch has no statement more. */
function mayMention(content: Content): boolean {
  return "mentions" in content || "replyTo" in content;
}

const LOCK_ROOMS = lockRooms(INPUT, "");
const LOCK_FREE_ROOMS = lockRooms(INPUT, "skip locked");
