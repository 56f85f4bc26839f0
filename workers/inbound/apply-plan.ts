import { noteReactions } from "../../shared/db/acts/note-reactions.ts";
import { noteRemovedReactions } from "../../shared/db/acts/removed-reactions.ts";
import {
  appendMatrixAct,
  appendRedaction,
  type MatrixAct,
  type MatrixOutcome,
} from "../../shared/db/acts/append-matrix-act.ts";
import { noteBans } from "../../shared/db/bans/bans.ts";
import { notePins } from "../../shared/db/pins/pinned.ts";
import { takeDescription } from "../../shared/db/rooms/matrix/described-on-matrix.ts";
import { takeWaiting } from "../../shared/db/acts/waiting-acts.ts";
import { transactPipelined, type Statement } from "../../shared/db/connection/pipelined-transaction.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { applyMemberships } from "../../shared/db/memberships/applied-members.ts";
import { noteRemovals } from "../../shared/db/memberships/removals.ts";
import { deleteMessages } from "../../shared/db/messages/delete-messages.ts";
import { reportRevived } from "../../shared/db/messages/status-entries.ts";
import { settleClaimed, settleMessages, type SettledMessage } from "../../shared/db/messages/settle.ts";
import {
  markConfigurationDrift,
  markEncrypted,
  noteSuccessor,
  noteUnknownUsers,
} from "../../shared/db/rooms/matrix/changed-on-matrix.ts";
import { appendStatement, type AppendedRow, type RoomEntries } from "../../shared/timeline/append.ts";
import type { OwnEvents } from "./own-messages.ts";
import type { SyncPlan } from "./sync-plan.ts";
import type { Step } from "./sync-steps.ts";

/**
 * What a transaction appended to the timelines, in order of the rooms, and what it found of messages of ours. `acted`: rooms in
 * which acts were carried out: what they changed is read again before it is published. `refused`: how many acts changed
 * nothing, since their sender may not do that here.
 */
export type Applied = {
  appended: AppendedRow[];
  settled: SettledMessage[];
  acted: string[];
  refused: number;
};

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
  const { steps, adopted, settled, pruned, revived } = plan;
  return apply(db, {
    first: [require, ...(adopted.length > 0 ? [takeWaiting(adopted)] : [])],
    // Messages of ours are settled before others act on them.
    settle: settled.length > 0 ? [settleMessages(settled, rereading), ...settleActs(plan)] : [],
    steps: steps.length > 0 ? toStatements(steps) : [],
    // After the messages are locked, in the order of their ids.
    report: [
      ...(revived.length > 0 ? [reportRevived(revived)] : []),
      ...(pruned.length > 0 ? [deleteMessages(pruned, null)] : []),
      ...plan.descriptions.map(takeDescription),
    ],
    last: [...sideEffectsOf(plan), ...also],
  });
}

/**
 * Settles messages and acts of ours without a plan. `require` runs first.
 * @throws as `transactPipelined`; VIEW_STALE too when one of them is not ours, or has no number.
 */
export function applyOwnMessages(
  db: Db,
  { require, own }: { require: Statement; own: OwnEvents },
): Promise<Applied> {
  const settle = [settleClaimed(own.claimed), ...settleActs(own)];
  return apply(db, { first: [require], settle, steps: [], report: [], last: [] });
}

/** What is remembered of reactions of ours and of their removals, beside their rows. */
function settleActs({ reactions, redacted }: Pick<SyncPlan, "reactions" | "redacted">): Statement[] {
  return [
    ...(reactions.length > 0 ? [noteReactions(reactions)] : []),
    ...(redacted.length > 0 ? [noteRemovedReactions(redacted)] : []),
  ];
}

type StepStatement = { is: "entries" | "act"; roomId: string; statement: Statement };

/** The entries of all rooms up to an act are one statement. */
function toStatements(steps: readonly Step[]): StepStatement[] {
  const statements: StepStatement[] = [];
  let entries: RoomEntries[] = [];
  const flush = () => {
    const [first] = entries;
    if (first) statements.push({ is: "entries", roomId: first.roomId, statement: appendStatement(entries) });
    entries = [];
  };
  for (const step of steps) {
    if (step.kind === "entries") entries.push(step);
    else {
      flush();
      const { roomId, act } = step;
      statements.push(...actStatements(act).map((statement) => ({ is: "act" as const, roomId, statement })));
    }
  }
  flush();
  return statements;
}

/** What a redaction redacts shows in the tables. */
function actStatements(act: MatrixAct): Statement[] {
  return act.kind === "deletion" ? appendRedaction({ ...act, kind: act.kind }) : [appendMatrixAct(act)];
}

type Steps = Record<"first" | "settle" | "report" | "last", readonly Statement[]> & {
  steps: readonly StepStatement[];
};

async function apply(db: Db, { first, settle, steps, report, last }: Steps): Promise<Applied> {
  const statements = [...first, ...settle, ...steps.map(({ statement }) => statement), ...report, ...last];
  const rows = await transactPipelined<unknown[][]>(db, statements);
  const rowsOf = (some: readonly Statement[]) =>
    some.flatMap((statement) => rows[statements.indexOf(statement)] ?? []);
  const ofKind = (is: StepStatement["is"]) => steps.filter((step) => step.is === is);
  const appending = [...ofKind("entries").map(({ statement }) => statement), ...report];
  const acts = ofKind("act").map(({ roomId, statement }) => ({
    roomId,
    outcomes: rowsOf([statement]) as MatrixOutcome[],
  }));
  const has = (outcome: MatrixOutcome["outcome"]) =>
    acts.filter(({ outcomes }) => outcomes.some((row) => row.outcome === outcome));
  return {
    appended: (rowsOf(appending) as AppendedRow[]).toSorted(byRoomAndNumber),
    settled: rowsOf(settle.slice(0, 1)) as SettledMessage[],
    acted: [...new Set(has("done").map(({ roomId }) => roomId))],
    refused: has("refused").length,
  };
}

function byRoomAndNumber(one: AppendedRow, other: AppendedRow): number {
  return one.room_id === other.room_id ? one.number - other.number : one.room_id < other.room_id ? -1 : 1;
}

/** What a plan changes beside the timelines. */
function sideEffectsOf(plan: SyncPlan): Statement[] {
  return [
    ...(plan.memberships.length > 0 ? [applyMemberships(plan.memberships)] : []),
    ...(plan.removals.length > 0 ? [noteRemovals(plan.removals)] : []),
    ...(plan.bans.length > 0 ? [noteBans(plan.bans)] : []),
    ...(plan.pins.length > 0 ? [notePins(plan.pins)] : []),
    ...(plan.unknownUsers.length > 0 ? [noteUnknownUsers(plan.unknownUsers)] : []),
    ...plan.successors.map(noteSuccessor),
    ...(plan.configurationDrifts.length > 0 ? [markConfigurationDrift(plan.configurationDrifts)] : []),
    ...(plan.encrypted.length > 0 ? [markEncrypted(plan.encrypted)] : []),
  ];
}
