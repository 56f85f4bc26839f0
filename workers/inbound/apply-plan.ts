import { transactPipelined, type Statement } from "../../shared/db/connection/pipelined-transaction.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { applyMemberships } from "../../shared/db/memberships/applied-members.ts";
import { noteRemovals } from "../../shared/db/memberships/removals.ts";
import { deleteMessages } from "../../shared/db/messages/delete-messages.ts";
import { reportRevived } from "../../shared/db/messages/status-entries.ts";
import { numberOlder } from "../../shared/db/messages/number-older.ts";
import {
  settleClaimed,
  settleMessages,
  type ClaimedEvent,
  type SettledMessage,
} from "../../shared/db/messages/settle.ts";
import {
  markConfigurationDrift,
  markEncrypted,
  noteSuccessor,
  noteUnknownUsers,
} from "../../shared/db/rooms/changed-on-matrix.ts";
import { appendStatement, type AppendedRow } from "../../shared/timeline/append.ts";
import type { SyncPlan } from "./sync-plan.ts";

/** What a transaction appended to the timelines, in order of the rooms, and what it found of messages of ours. */
export type Applied = { appended: AppendedRow[]; settled: SettledMessage[] };

/**
 * Applies a plan in one transaction and one round trip. `require` runs first: it locks, and ends the transaction when the
 * plan was made from rows that have changed. `also` runs last. `rereading`: that of the room, while it is read again.
 * @throws as `transactPipelined`
 */
export async function applySyncPlan(
  db: Db,
  {
    require,
    plan,
    also,
    rereading = null,
  }: { require: Statement; plan: SyncPlan; also: readonly Statement[]; rereading?: string | null },
): Promise<Applied> {
  const { entries, settled, pruned, unnumbered, revived } = plan;
  // Messages of ours have their numbers before they are settled, and stand before what others wrote.
  const append = [
    ...(unnumbered.length > 0 ? [numberOlder(unnumbered)] : []),
    ...(entries.length > 0 ? [appendStatement(entries)] : []),
  ];
  const settle = settled.length > 0 ? [settleMessages(settled, rereading)] : [];
  // After the messages are locked, in the order of their ids.
  const report = [
    ...(revived.length > 0 ? [reportRevived(revived)] : []),
    ...(pruned.length > 0 ? [deleteMessages(pruned, null)] : []),
  ];
  return apply(db, { require, append, settle, report, also: [...sideEffectsOf(plan), ...also] });
}

/**
 * Settles messages of ours without a plan. `require` runs first.
 * @throws as `transactPipelined`; VIEW_STALE too when one of them is not ours, or has no number.
 */
export function applyOwnMessages(
  db: Db,
  { require, own }: { require: Statement; own: readonly ClaimedEvent[] },
): Promise<Applied> {
  return apply(db, { require, append: [], settle: [settleClaimed(own)], report: [], also: [] });
}

/** `append` and `report` return AppendedRow, `settle` SettledMessage. */
type Steps = Record<"append" | "settle" | "report" | "also", Statement[]> & { require: Statement };

async function apply(db: Db, { require, append, settle, report, also }: Steps): Promise<Applied> {
  const statements = [require, ...append, ...settle, ...report, ...also];
  const rows = await transactPipelined<unknown[][]>(db, statements);
  const rowsOfSteps = (steps: readonly Statement[]) =>
    steps.flatMap((statement) => rows[statements.indexOf(statement)] ?? []);
  const appended = rowsOfSteps([...append, ...report]) as AppendedRow[];
  return { appended: appended.toSorted(byRoomAndNumber), settled: rowsOfSteps(settle) as SettledMessage[] };
}

function byRoomAndNumber(one: AppendedRow, other: AppendedRow): number {
  return one.room_id === other.room_id ? one.number - other.number : one.room_id < other.room_id ? -1 : 1;
}

/** What a plan changes beside the timelines. */
function sideEffectsOf(plan: SyncPlan): Statement[] {
  return [
    ...(plan.memberships.length > 0 ? [applyMemberships(plan.memberships)] : []),
    ...(plan.removals.length > 0 ? [noteRemovals(plan.removals)] : []),
    ...(plan.unknownUsers.length > 0 ? [noteUnknownUsers(plan.unknownUsers)] : []),
    ...plan.successors.map(noteSuccessor),
    ...(plan.configurationDrifts.length > 0 ? [markConfigurationDrift(plan.configurationDrifts)] : []),
    ...(plan.encrypted.length > 0 ? [markEncrypted(plan.encrypted)] : []),
  ];
}
