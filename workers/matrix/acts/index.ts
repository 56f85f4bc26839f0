import { isActKind, type ActContentOf, type ActKind } from "../../../shared/contract/content/acts.ts";
import type { ActCall, ActOnMatrix, ActSentWith, RelatedEvents } from "./define.ts";
import { deletionOnMatrix } from "./deletion.ts";
import { editOnMatrix } from "./edit.ts";
import { pinOnMatrix, unpinOnMatrix } from "./pin.ts";
import { reactionOnMatrix } from "./reaction.ts";
import { unreactionOnMatrix } from "./unreaction.ts";

/** Each kind of act on Matrix: the counterpart of `shared/contract/content/acts.ts`. */
const MATRIX_ACTS: { readonly [K in ActKind]: ActOnMatrix<ActContentOf<K>> } = {
  deletion: deletionOnMatrix,
  edit: editOnMatrix,
  reaction: reactionOnMatrix,
  unreaction: unreactionOnMatrix,
  pin: pinOnMatrix,
  unpin: unpinOnMatrix,
};

/** See `ActOnMatrix.toCalls`. */
export function toCalls<K extends ActKind>(content: ActContentOf<K>, given: ActSentWith): readonly ActCall[] {
  return MATRIX_ACTS[content.kind].toCalls(content, given);
}

/** Which events an act needs beside its target. */
export function relatedOf(kind: ActKind): RelatedEvents | null {
  return MATRIX_ACTS[kind].related;
}

/** Whether a row is an act that redacts events of the same message beside its own target, or in its place. */
export function redactsRelated(kind: unknown): boolean {
  return isActKind(kind) && relatedOf(kind) !== null;
}

/** See `ActOnMatrix.needsPins`. */
export function needsPins<K extends ActKind>(content: ActContentOf<K>): boolean {
  return MATRIX_ACTS[content.kind].needsPins?.(content) ?? false;
}

/** Whether a deletion of the message takes the act with it. */
export function needsTarget(kind: ActKind): boolean {
  return MATRIX_ACTS[kind].needsTarget;
}
