import { errorText } from "../../shared/contract/errors.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import type { SyncResponse } from "../matrix/sync/fetch-changes.ts";
import type { WorkerContext } from "../runtime/context.ts";
import { createNameOf } from "./names.ts";
import { receiveSigns } from "./receive-signs.ts";
import { createSignReceiver } from "./sign-receiver.ts";

/** What one observer reads beside the history of its rooms. */
export type ObserverSigns = {
  /** Takes over the signs of a response, in the background: call it when its events are saved. */
  add: (changes: SyncResponse) => void;
  /** Whether the position of a response need not be saved yet: it has signs alone, and one was saved within a second. */
  mayWait: (changes: SyncResponse) => boolean;
  /** A position was saved. */
  noteSaved: () => void;
  drain: () => Promise<void>;
};

/** Who types changes many times a second in a busy tenant, and each time ends a long poll. */
const SAVED_EVERY_MS = 1_000;

export function createObserverSigns(
  context: WorkerContext,
  homeserver: Homeserver,
  observer: { observer_id: string; tenant_id: string; matrix_user_id: string },
): ObserverSigns {
  const reader = {
    observerId: observer.observer_id,
    tenantId: observer.tenant_id,
    matrixUserId: observer.matrix_user_id,
  };
  const nameOf = createNameOf(
    () => homeserver.as(observer.matrix_user_id),
    () => performance.now(),
  );
  const receiver = createSignReceiver(
    (signs) => receiveSigns(context, reader, signs, nameOf),
    (error) => {
      context.log.debug({ err: error, why: errorText(error) }, "signs from Matrix are lost");
    },
  );
  let savedAtMs = Number.NEGATIVE_INFINITY;
  return {
    add: ({ signs = [] }) => {
      receiver.add(signs);
    },
    mayWait: (changes) => hasSignsAlone(changes) && performance.now() - savedAtMs < SAVED_EVERY_MS,
    noteSaved: () => {
      savedAtMs = performance.now();
    },
    drain: receiver.drain,
  };
}

/** Pure: whether a response tells nothing of the history of any room. */
export function hasSignsAlone({ rooms, signs = [] }: SyncResponse): boolean {
  const { join = {}, leave = {} } = rooms ?? {};
  const hasHistory = Object.values(join).some(
    ({ timeline }) => timeline !== undefined && (timeline.events.length > 0 || timeline.limited),
  );
  return signs.length > 0 && !hasHistory && Object.keys(leave).length === 0;
}
