import { createHash } from "node:crypto";
import type { Db } from "../../../shared/db/connection/open.ts";
import type { Acceptance, NewMessage } from "../../../shared/db/messages/accept/accept-messages.ts";
import {
  findMessage,
  findMessageByClientId,
  presentMessage,
  type MessageRow,
} from "../../../shared/db/messages/messages.ts";
import type { Content } from "../../../shared/contract/content/index.ts";
import {
  identifyMessage,
  messageRequest,
  type MessageRequest,
} from "../../../shared/contract/content/message.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../../shared/contract/names.ts";
import { readMessage } from "../../../shared/contract/resources.ts";
import type { Accept, AcceptAct } from "../../accept/accept-batcher.ts";
import type { Caller } from "../../auth/authenticate.ts";
import { notHeldError } from "../../auth/require-holder.ts";
import { clientId, pathRoom } from "../../http/fields.ts";
import { answerResource, userRoute, type Answer, type Call, type Route } from "../../http/route.ts";
import { overQuotaError, type WithinQuota } from "../../rate-limit/message-quota.ts";
import { composeAsAsked, composeMessage, composeOrRepeat } from "./compose.ts";
import { adoptingError, listPath, tag } from "./room-access.ts";

const messageBody = messageRequest.extend({ clientId: clientId.optional() }).meta({ id: "NewMessage" });

export type PostMessageDeps = { db: Db; accept: Accept & AcceptAct; withinQuota: WithinQuota };

export function postMessageRoute(deps: PostMessageDeps): Route {
  const { db } = deps;
  return userRoute(
    {
      method: "post",
      path: listPath,
      tag,
      summary: "Send a message",
      description:
        "An accepted message is in the room: it has its number, and everybody in the room receives it. `status` says how far the " +
        "chat server has followed; `Prefer: wait` waits until that is `sent` or `dead`. `mentions.users` names members, who stand " +
        "in the text as @ and their id, or are mentioned all the same; a reply mentions whom it answers. A repeated Idempotency-Key or " +
        "clientId with the same body returns the same message, with Idempotency-Replayed: true; with another body or another " +
        "room it is refused: 422 idempotency_key_reused. After a lost answer, 429 or 503 send the same body with the same key " +
        "again. 403 for a user who may not write in the room: a guest, a muted member, a member where posting=speakers, a locked user. " +
        "429 while the room's slow mode makes the person wait, see Retry-After; 404 for a room that the user is not in. 503 also while " +
        "too many messages of the room or of the tenant wait for the chat server, which follows behind. 413 for a message whose formatted text is too large for it.",
      body: { schema: messageBody, example: { text: "See you at seven", clientId: "c-17" } },
      answers: {
        200: {
          schema: readMessage,
          description: "Accepted, and on the chat server, or dead: it will never be there",
        },
        202: { schema: readMessage, description: "Accepted, with its number; the chat server follows" },
      },
      problems: ["forbidden", "not_found", "too_large", "invalid", "idempotency_key_reused", "unavailable"],
      headers: ["Idempotency-Key", "Prefer"],
    },
    async ({ caller, params, body, header, requestId, settle }) => {
      const room = pathRoom(params);
      const id = readClientId(header("idempotency-key"), body.clientId);
      const requestHash = id === null ? null : hashRequest(room, body);
      const { tenantId, user, stamp, limits } = caller;
      const place = { db, caller, room };
      const content = await composeOrRepeat(place, id, {
        compose: () => composeMessage(place, body),
        asAsked: (): Content => ({ kind: "text", ...composeAsAsked(body) }),
      });
      const acceptance = await acceptWithinQuota(
        deps,
        {
          ...{ tenantId, user, stamp, room, clientId: id, requestHash, requestId, content },
          roomLimit: limits.roomMessages,
        },
        limits.queuedMessages,
      );
      if (!("message" in acceptance)) throw refusalError(acceptance);
      const { outcome, message } = acceptance;
      if (outcome === "replayed" && message.request_hash !== null && message.request_hash !== requestHash) {
        throw new AppError("idempotency_key_reused", "The key was used for another message.");
      }
      return settleMessage(db, { tenantId, settle }, message, { isReplay: outcome === "replayed" });
    },
  );
}

/** Answers with a message, after the wait that the caller prefers. */
export async function settleMessage(
  db: Db,
  { tenantId, settle }: { tenantId: string; settle: Call<Caller, unknown, unknown>["settle"] },
  message: MessageRow,
  { isReplay }: { isReplay: boolean },
): Promise<Answer> {
  const read = async () => (await findMessage(db, tenantId, message.room_id, message.id)) ?? message;
  return answerMessage(await settle(message, read, isMessageFinal), { isReplay });
}

function answerMessage(message: MessageRow, { isReplay }: { isReplay: boolean }): Answer {
  const location = `/v1/rooms/${message.kind}/${encodeURIComponent(message.slug)}/messages/${message.id}`;
  const answer = answerResource(
    { ...presentMessage(message), myReactions: [] },
    { isFinal: isMessageFinal(message), location },
  );
  return {
    ...answer,
    headers: { ...answer.headers, ...(isReplay ? { "Idempotency-Replayed": "true" } : {}) },
    about: { room: message.room_id, message: message.id },
  };
}

/** @throws AppError `unavailable` over the quota, unless the message was accepted before. */
async function acceptWithinQuota(
  { db, accept, withinQuota }: PostMessageDeps,
  request: NewMessage,
  limit: number,
): Promise<Acceptance> {
  const { tenantId, user, stamp, clientId: id } = request;
  const acceptance = await withinQuota(tenantId, limit, () => accept(request));
  if (acceptance) return acceptance;
  const message =
    id === null ? null : await findMessageByClientId(db, { tenantId, user, stamp, clientId: id });
  if (!message) throw overQuotaError("tenant");
  return { outcome: "replayed", message };
}

function refusalError(refusal: Exclude<Acceptance, { message: unknown }>): AppError {
  const { outcome } = refusal;
  if (outcome === "too_soon")
    return new AppError("rate_limited", "The room is in slow mode: wait before the next message.", {
      retryAfterMs: refusal.retryAfterMs,
    });
  if (outcome === "token_not_held") return notHeldError();
  if (outcome === "room_full") return overQuotaError("room");
  if (outcome === "room_adopting") return adoptingError();
  return outcome === "may_not_post"
    ? new AppError("forbidden", "You may not write in this room.")
    : new AppError("not_found", "There is no such room.");
}

export function readClientId(header: string | undefined, field: string | undefined): string | null {
  if (header === undefined) return field ?? null;
  if (!clientId.safeParse(header).success) throw keyError("must be 1 to 128 visible ASCII characters");
  if (field !== undefined && field !== header) throw keyError("differs from the body's clientId");
  return header;
}

function keyError(message: string): AppError {
  return new AppError("invalid", "The request is not valid.", {
    errors: [{ path: "Idempotency-Key", message }],
  });
}

/** Distinguishes a repeated request from another one with the same client id. */
export function hashRequest(room: RoomAddress, request: MessageRequest): string {
  return createHash("sha256")
    .update(`${formatRoomKey(room)}\n${identifyMessage(request)}`, "utf8")
    .digest("hex");
}

function isMessageFinal({ status }: MessageRow): boolean {
  return status === "sent" || status === "dead";
}
