import type { z } from "zod";
import type { ActWord } from "../publications/messages.ts";
import type { ActType } from "./define.ts";
import { deletion } from "./deletion.ts";
import { edit } from "./edit.ts";
import { pin, unpin } from "./pin.ts";
import { reaction } from "./reaction.ts";
import { unreaction } from "./unreaction.ts";

/** Every kind of act on a message: one file and one word here. Its form on Matrix is in `workers/matrix/acts/`. */
const KINDS = { deletion, edit, reaction, unreaction, pin, unpin };
type Kinds = typeof KINDS;

export type ActKind = keyof Kinds;
/** What rows keep of one kind of act. */
export type ActContentOf<K extends ActKind> = { [P in K]: { kind: P } & z.output<Kinds[P]["content"]> }[K];
/** What rows keep of any kind of act, distinguished by `kind`. */
export type ActContent = ActContentOf<ActKind>;

export const ACTS: { readonly [K in ActKind]: ActType<z.ZodType<ActContentOf<K>>> } = KINDS;

export const ACT_KINDS = Object.keys(ACTS) as ActKind[];

/** Whether rows of this kind are acts. */
export function isActKind(kind: unknown): kind is ActKind {
  return ACT_KINDS.some((known) => known === kind);
}

/** Reads what the row of an act keeps. Null for a row that is no act. @throws a ZodError for a malformed act. */
export function parseAct(kept: unknown): ActContent | null {
  const kind = typeof kept === "object" && kept !== null && "kind" in kept ? kept.kind : undefined;
  return isActKind(kind) ? ACTS[kind].content.parse(kept) : null;
}

/** See `ActType.identify`. */
export function identifyAct<K extends ActKind>(content: ActContentOf<K>): string {
  return ACTS[content.kind].identify(content);
}

/** What each kind is called in `message.failed` and `message.requeued`: a parameter of the statements that append them. */
export const ACT_WORDS: Readonly<Record<ActKind, ActWord>> = Object.fromEntries(
  ACT_KINDS.map((kind) => [kind, ACTS[kind].act]),
) as Record<ActKind, ActWord>;

/** The kinds that the observer carries out for a person who is no member any more: a parameter of statements. */
export const SURVIVING_ACTS: readonly ActKind[] = ACT_KINDS.filter((kind) => ACTS[kind].survivesRemoval);
