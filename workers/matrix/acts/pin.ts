import type { ActContentOf } from "../../../shared/contract/content/acts.ts";
import { EventType } from "../names.ts";
import type { ActCall, ActOnMatrix } from "./define.ts";

/** The room's list as it is now: pins that follow each other write it together. */
export function putPins(pins: readonly string[]): ActCall {
  return { putState: EventType.RoomPinnedEvents, content: { pinned: [...pins] } };
}

export const pinOnMatrix: ActOnMatrix<ActContentOf<"pin">> = {
  related: null,
  needsTarget: true,
  needsPins: () => true,
  toCalls: (_content, { pins }) => [putPins(pins)],
};

export const unpinOnMatrix: ActOnMatrix<ActContentOf<"unpin">> = {
  related: null,
  needsTarget: false,
  needsPins: () => true,
  toCalls: (_content, { pins }) => [putPins(pins)],
};
