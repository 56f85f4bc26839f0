import { transactPipelined, type Statement } from "../../shared/db/connection/pipelined-transaction.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { applyMemberships } from "../../shared/db/memberships/applied-members.ts";
import { noteRemovals } from "../../shared/db/memberships/removals.ts";
import {
  appendOwnMessages,
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

/** What a transaction appended to the timelines, in order, and which messages of ours it settled. */
export type Applied = { appended: AppendedRow[]; settled: SettledMessage[] };

/**
 * Applies a plan in one transaction and one round trip. `require` runs first: it locks, and ends the transaction when the
 * plan was made from rows that have changed. `also` runs last.
 * @throws as `transactPipelined`
 */
export async function applySyncPlan(
  db: Db,
  { require, plan, also }: { require: Statement; plan: SyncPlan; also: readonly Statement[] },
): Promise<Applied> {
  const { entries, settled } = plan;
  const append: Append = entries.length > 0 ? [appendStatement(entries), settleMessages(settled)] : [];
  return apply(db, { require, append, also: [...sideEffectsOf(plan), ...also] });
}

/**
 * Appends messages of ours from their rows, without a plan. `require` locks their rooms' timelines.
 * @throws as `transactPipelined`; VIEW_STALE too when one of them is not ours, or in its timeline already.
 */
export function applyOwnMessages(
  db: Db,
  { require, own }: { require: Statement; own: readonly ClaimedEvent[] },
): Promise<Applied> {
  return apply(db, { require, append: [appendOwnMessages(own), settleMessages(own)], also: [] });
}

type Append = [append: Statement, settle: Statement] | [];

async function apply(
  db: Db,
  { require, append, also }: { require: Statement; append: Append; also: readonly Statement[] },
): Promise<Applied> {
  const rows = await transactPipelined<unknown[][]>(db, [require, ...append, ...also]);
  const [appended = [], settled = []] = rows.slice(1, 1 + append.length) as [
    AppendedRow[]?,
    SettledMessage[]?,
  ];
  const requestIds = new Map(settled.map(({ message, requestId }) => [message, requestId]));
  return {
    appended: appended.map((row) => ({ ...row, request_id: requestIds.get(row.entry_id) ?? null })),
    settled,
  };
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
