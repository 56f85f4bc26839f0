import type { Db } from "../../shared/db/connection/open.ts";
import { acceptMessages, type Accepted, type IdleRoom } from "../../shared/db/messages/accept-messages.ts";
import type { AfterCommit } from "../after-commit/after-commit.ts";
import { createAcceptBatcher, type Accept } from "./accept-batcher.ts";

/**
 * Accepts messages in batches, and publishes them after the commit. A room that had nothing to send is woken before the
 * commit, see `acceptMessages`. `onAccepted` runs between commit and publishing.
 */
export function createAccept(
  { db, afterCommit, now }: { db: Db; afterCommit: AfterCommit; now: () => number },
  onAccepted: (accepted: readonly Accepted[]) => void,
): Accept {
  return createAcceptBatcher(
    (messages, options) => {
      const wakeIdle = (idle: readonly IdleRoom[]) => {
        afterCommit.perform(
          idle.map(({ tenantId, roomId }) => ({
            type: "wakeJob",
            name: "outbound-message",
            payload: { tenantId, roomId },
          })),
        );
      };
      return acceptMessages(db, messages, wakeIdle, options);
    },
    (acceptances) => {
      const accepted = acceptances.filter((it) => it.outcome === "accepted");
      if (accepted.length === 0) return;
      onAccepted(accepted);
      afterCommit.perform([{ type: "publishAppended", entries: accepted.map(({ entry }) => entry) }]);
    },
    now,
  );
}
