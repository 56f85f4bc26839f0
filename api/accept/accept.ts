import type { Db } from "../../shared/db/connection/open.ts";
import type { ActAcceptance } from "../../shared/db/acts/accept-acts.ts";
import {
  acceptAll,
  type Acceptance,
  type Accepted,
  type IdleRoom,
  type NewRequest,
} from "../../shared/db/messages/accept/accept-messages.ts";
import type { AfterCommit } from "../after-commit/after-commit.ts";
import { createAcceptBatcher, type Accept, type AcceptAct } from "./accept-batcher.ts";

/**
 * Accepts messages and acts in batches, and publishes them after the commit. A room that had nothing to send is woken before
 * the commit, see `acceptAll`. `onAccepted` runs between commit and publishing.
 */
export function createAccept(
  { db, afterCommit, now }: { db: Db; afterCommit: AfterCommit; now: () => number },
  onAccepted: (accepted: readonly Accepted[]) => void,
): Accept & AcceptAct {
  // The outcomes of messages are those of messages, and those of acts of acts.
  return createAcceptBatcher<NewRequest, Acceptance | ActAcceptance>(
    (requests, options) => {
      const wakeIdle = (idle: readonly IdleRoom[]) => {
        afterCommit.perform(
          idle.map(({ tenantId, roomId }) => ({
            type: "wakeJob",
            name: "outbound-message",
            payload: { tenantId, roomId },
          })),
        );
      };
      return acceptAll(db, requests, wakeIdle, options);
    },
    (acceptances) => {
      const accepted = acceptances.filter((it) => it.outcome === "accepted");
      const acted = acceptances.filter((it) => it.outcome === "done");
      if (accepted.length > 0) onAccepted(accepted);
      // A room's acts come after its messages, as their numbers do.
      const entries = [...accepted, ...acted].map(({ entry }) => entry);
      if (entries.length > 0) afterCommit.perform([{ type: "publishAppended", entries }]);
    },
    now,
  ) as Accept & AcceptAct;
}
