import type { Db } from "../../shared/db/connection/open.ts";
import { acceptMessages, type Accepted } from "../../shared/db/messages/messages.ts";
import type { AfterCommit } from "../after-commit/after-commit.ts";
import { createAcceptBatcher, type Accept } from "./accept-batcher.ts";

/**
 * Accepts messages in batches and publishes each accepted one as `message.pending` after its commit. A room that had
 * nothing to send is woken while its lock is still held, see `acceptMessages`. `onAccepted` is called after a commit,
 * before anything is published.
 */
export function createAccept(
  { db, afterCommit, now }: { db: Db; afterCommit: AfterCommit; now: () => number },
  onAccepted: (accepted: readonly Accepted[]) => void,
): Accept {
  return createAcceptBatcher(
    (messages) =>
      acceptMessages(db, messages, (idle) => {
        afterCommit.perform(
          idle.map(({ tenantId, roomId }) => ({
            type: "wakeJob",
            name: "outbound-message",
            payload: { tenantId, roomId },
          })),
        );
      }),
    (acceptances) => {
      const accepted = acceptances.filter((it) => it.outcome === "accepted");
      if (accepted.length === 0) return;
      onAccepted(accepted);
      afterCommit.perform(accepted.map((message) => ({ type: "publishPending", message })));
    },
    now,
  );
}
