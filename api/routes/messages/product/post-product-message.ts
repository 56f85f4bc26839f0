import {
  acceptProduct,
  findProductMessage,
  type ProductAcceptance,
} from "../../../../shared/db/messages/accept/accept-product.ts";
import type { ContentKind } from "../../../../shared/contract/content/index.ts";
import { messageRequest } from "../../../../shared/contract/content/message.ts";
import { AppError } from "../../../../shared/contract/errors.ts";
import { readMessage } from "../../../../shared/contract/resources.ts";
import type { AfterCommit } from "../../../after-commit/after-commit.ts";
import { clientId, pathRoom } from "../../../http/fields.ts";
import { serverRoute, type Route } from "../../../http/route.ts";
import { overQuotaError } from "../../../rate-limit/message-quota.ts";
import { composeMessage } from "../compose.ts";
import { hashRequest, readClientId, settleMessage, type PostMessageDeps } from "../post-message.ts";
import { listPath, tag } from "../room-access.ts";

/** What the product says, unless it names another kind. */
const PRODUCT_KIND = "notice" satisfies ContentKind;

const messageBody = messageRequest
  .extend({ clientId: clientId.optional() })
  .meta({ id: "NewProductMessage" });

/** The product itself speaks: a server key without `Act-As`. */
export function postProductMessageRoute(deps: PostMessageDeps & { afterCommit: AfterCommit }): Route {
  const { db, afterCommit, withinQuota } = deps;
  return serverRoute(
    {
      method: "post",
      path: listPath,
      tag,
      summary: "Say something as the product itself",
      description:
        "The message is the product's own: `sender.user` is null, with the tenant's name and avatar (settings `name` and `avatar`). " +
        "`kind` is notice, unless it says another. It needs no member. A clientId is accepted once in the tenant, for all of its rooms.",
      body: {
        schema: messageBody,
        example: { text: "The event begins in an hour", clientId: "reminder-17" },
      },
      answers: {
        200: { schema: readMessage, description: "Accepted, and on the chat server, or dead" },
        202: { schema: readMessage, description: "Accepted, with its number; the chat server follows" },
      },
      problems: ["not_found", "too_large", "invalid", "idempotency_key_reused", "unavailable"],
      headers: ["Idempotency-Key", "Prefer"],
    },
    async ({ caller, params, body, header, requestId, settle }) => {
      const room = pathRoom(params);
      const { tenantId, limits } = caller;
      const id = readClientId(header("idempotency-key"), body.clientId);
      const request = { ...body, kind: body.kind ?? PRODUCT_KIND };
      const requestHash = id === null ? null : hashRequest(room, request);
      const earlier = id === null ? null : await findProductMessage(db, tenantId, id);
      const acceptance: ProductAcceptance = earlier
        ? { outcome: "replayed", message: earlier }
        : await withinQuota(tenantId, limits.queuedMessages, async () =>
            acceptProduct(db, {
              ...{ tenantId, room, clientId: id, requestHash, requestId },
              content: await composeMessage({ db, caller, room }, request),
              roomLimit: limits.roomMessages,
            }),
          ).then((accepted) => accepted ?? tenantFull());
      if (!("message" in acceptance)) throw refusalError(acceptance.outcome);
      const { outcome, message } = acceptance;
      if (outcome === "replayed" && message.request_hash !== null && message.request_hash !== requestHash)
        throw new AppError("idempotency_key_reused", "The key was used for another message.");
      if (outcome === "accepted") {
        const wake = { tenantId, roomId: message.room_id };
        afterCommit.perform([
          { type: "publishAppended", entries: [acceptance.entry] },
          ...(acceptance.isIdle
            ? [{ type: "wakeJob", name: "outbound-message", payload: wake } as const]
            : []),
        ]);
      }
      return settleMessage(db, { tenantId, settle }, message, { isReplay: outcome === "replayed" });
    },
  );
}

function tenantFull(): never {
  throw overQuotaError("tenant");
}

function refusalError(outcome: "no_such_room" | "room_full" | "room_locked"): AppError {
  if (outcome === "no_such_room") return new AppError("not_found", "There is no such room.");
  if (outcome === "room_full") return overQuotaError("room");
  return new AppError("unavailable", "Others change the same room at this moment. Try again.", {
    retryAfterMs: 1_000,
  });
}
