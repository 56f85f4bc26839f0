import { ACT_KINDS, ACTS, type ActContent, type ActKind } from "../../contract/content/acts.ts";
import { MESSAGE_ENTRY_TYPES, UNREAD_ENTRY_TYPES } from "../../contract/content/index.ts";
import type { RoomAddress } from "../../contract/names.ts";
import { standingsAllowed } from "../../contract/permissions.ts";
import type { TokenStamp } from "../../auth/token-claims.ts";
import { newId } from "../../platform/ids.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { LOCKED_ROOMS } from "../rooms/lock-rooms.ts";
import type { RoomState } from "../timeline/append.ts";
import { ENTRY_COLUMNS, ENTRY_JOINS, type EntryRow } from "../timeline/entries.ts";
import { acceptSql, GIVEN_COLUMNS, HOLDS_TOKEN } from "./frame.ts";
import { ACT_SQL } from "./index.ts";

/** An act of a request on the message `target`. The other fields are those of a NewMessage. */
export type NewAct = {
  tenantId: string;
  user: string;
  room: RoomAddress;
  target: string;
  act: ActContent;
  clientId: string | null;
  requestHash: string | null;
  stamp: TokenStamp | null;
  roomLimit?: number;
  requestId?: string;
};

/** The entry of an act, with its room's state: ready to be published. */
export type ActedRow = EntryRow & RoomState & { tenant_id: string };

/**
 * - `done`: with its entry in the timeline, which is to be published.
 * - `unchanged`: the message is already as the act wants it.
 * - `replayed`: the person has used the client id before, for the row `id`.
 * - `too_many`: of what one message may have.
 */
export type ActAcceptance =
  | { outcome: "done"; id: string; entry: ActedRow }
  | { outcome: "unchanged" }
  | { outcome: "replayed"; id: string; requestHash: string | null }
  | { outcome: ActRefusal };

export type ActRefusal =
  | "token_not_held"
  | "no_such_room"
  | "no_such_message"
  | "may_not_act"
  | "target_deleted"
  | "too_many"
  | "room_full"
  | "room_adopting";

export type WrittenAct = ActAcceptance | { outcome: "room_locked" };

const STATEMENTS = Object.fromEntries(
  ACT_KINDS.map((kind) => [kind, acceptSql(kind, ACT_SQL[kind])]),
) as Record<ActKind, string>;

export function toActRow(act: NewAct) {
  return {
    id: newId(),
    tenant_id: act.tenantId,
    external_id: act.user,
    signed_at_ms: act.stamp?.issuedAtMs ?? null,
    generation: act.stamp?.generation ?? null,
    kind: act.room.kind,
    slug: act.room.slug,
    target: act.target,
    client_id: act.clientId,
    request_hash: act.requestHash,
    request_id: act.requestId ?? null,
    room_limit: act.roomLimit ?? null,
    content: act.act,
  };
}
export type ActRow = ReturnType<typeof toActRow>;

/** One act of a room that is locked: see `lockRooms`. Returns ActOutcome. */
export function acceptAct(row: ActRow): Statement {
  const { kind } = row.content;
  const bindings = {
    act: JSON.stringify(row),
    own: standingsAllowed(ACTS[kind].own),
    any: standingsAllowed(ACTS[kind].any),
    messages: [...MESSAGE_ENTRY_TYPES],
    unread: [...UNREAD_ENTRY_TYPES],
  };
  return { sql: STATEMENTS[kind], bindings };
}

export type ActOutcome = {
  id: string;
  outcome: "done" | "unchanged" | "may_not_act" | "target_deleted" | "too_many" | "refused";
};

/**
 * Locks what deletions change, in the order of all transactions: messages by id, then mirrors by room. Run it before the acts of
 * a batch.
 */
export function lockTouched(rows: readonly ActRow[]): Statement[] {
  const targets = rows.filter(({ content }) => content.kind === "deletion").map(({ target }) => target);
  if (targets.length === 0) return [];
  return [LOCK_MESSAGES, LOCK_MIRRORS].map((sql) => ({ sql, bindings: { targets } }));
}

const LOCK_MESSAGES = `
  select 1 from messages where (id = any(:targets) or target_id = any(:targets)) and room_id = any(${LOCKED_ROOMS})
   order by id for update`;
const LOCK_MIRRORS = `
  select 1 from room_mirrors where room_id = any(array(
      select room_id from messages where id = any(:targets) and room_id = any(${LOCKED_ROOMS}))) order by room_id for update`;

/** The entries of acts that were done, by their ids. Returns ActedRow, in the order of their numbers. */
export function readActed(rows: readonly Pick<ActRow, "id">[]): Statement {
  return { sql: READ_ACTED, bindings: { ids: rows.map(({ id }) => id) } };
}

const READ_ACTED = `
  select ${ENTRY_COLUMNS}, b.tenant_id, b.epoch, b.last_number, b.scrubs
    from messages kept
    join timeline e on e.room_id = kept.room_id and e.entry_id = kept.id
    join room_timeline b on b.room_id = e.room_id ${ENTRY_JOINS}
   where kept.id = any(:ids)
   order by e.room_id, e.number`;

type ExplainedRow = {
  id: string;
  is_held: boolean;
  is_locked: boolean;
  is_adopting: boolean;
  found_room: string | null;
  member_role: string | null;
  found_target: string | null;
  earlier_id: string | null;
  earlier_hash: string | null;
};

const EXPLAIN = `
  select a.id, u.id is null or ${HOLDS_TOKEN} as is_held, coalesce(u.status = 'locked', false) as is_locked, coalesce(r.adopting, false) as is_adopting, r.id as found_room,
         s.role as member_role, e.entry_id as found_target, x.id as earlier_id, encode(x.request_hash, 'hex') as earlier_hash
    from jsonb_to_recordset(cast(:acts as jsonb)) as a(${GIVEN_COLUMNS})
    left join users u on u.tenant_id = a.tenant_id and u.external_id = a.external_id and u.deleted_at is null
    left join rooms r on r.tenant_id = a.tenant_id and r.kind = a.kind and r.slug = a.slug and r.deleted_at is null
    left join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in'
    left join timeline e on e.room_id = r.id and e.entry_id = a.target and e.type = any(:messages)
    left join messages x on x.sender_id = u.id and x.client_id = a.client_id`;

/** What became of acts, by their ids. `outcomes`: of their statements; `entries`: as `readActed` returns them. */
export async function describeActs(
  db: Db,
  rows: readonly ActRow[],
  given: {
    outcomes: readonly ActOutcome[];
    entries: readonly ActedRow[];
    locked: ReadonlySet<string>;
  },
): Promise<Map<string, WrittenAct>> {
  const outcomes = new Map(given.outcomes.map(({ id, outcome }) => [id, outcome]));
  const entries = new Map(given.entries.map((entry) => [entry.entry_id, entry]));
  const refused = rows.filter(({ id }) => outcomes.get(id) === "refused");
  const explained = new Map(
    (refused.length === 0 ? [] : await explainRefusals(db, refused)).map((row) => [row.id, row]),
  );
  return new Map(
    rows.map(({ id }) => {
      const outcome = outcomes.get(id) ?? "refused";
      if (outcome === "refused") return [id, explain(explained.get(id), given.locked)];
      if (outcome !== "done") return [id, { outcome }];
      const entry = entries.get(id);
      if (!entry) throw new Error(`the act ${id} has no entry`);
      return [id, { outcome, id, entry }];
    }),
  );
}

function explainRefusals(db: Db, rows: readonly ActRow[]): Promise<ExplainedRow[]> {
  const bindings = { acts: JSON.stringify(rows), messages: [...MESSAGE_ENTRY_TYPES] };
  return rowsOf<ExplainedRow>(db, EXPLAIN, bindings);
}

function explain(row: ExplainedRow | undefined, locked: ReadonlySet<string>): WrittenAct {
  if (row?.found_room && !locked.has(row.found_room)) return { outcome: "room_locked" };
  if (row?.is_held === false) return { outcome: "token_not_held" };
  if (row?.earlier_id) return { outcome: "replayed", id: row.earlier_id, requestHash: row.earlier_hash };
  if (!row?.found_room || !row.member_role) return { outcome: "no_such_room" };
  if (row.is_locked) return { outcome: "may_not_act" };
  if (!row.found_target) return { outcome: "no_such_message" };
  if (row.is_adopting) return { outcome: "room_adopting" };
  // Nothing else refuses it. By now there may be a place again.
  return { outcome: "room_full" };
}
