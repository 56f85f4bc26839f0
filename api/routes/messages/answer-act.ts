import { createHash } from "node:crypto";
import { z } from "zod";
import type { ActAcceptance, NewAct } from "../../../shared/db/acts/accept-acts.ts";
import {
  findAct,
  findLastAct,
  readOwnReactions,
  type ActStatusRow,
} from "../../../shared/db/acts/read-acts.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { findTimelineMessage } from "../../../shared/db/timeline/pages.ts";
import { identifyAct, type ActContent, type ActKind } from "../../../shared/contract/content/acts.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../../shared/contract/names.ts";
import {
  actResource,
  readMessage,
  type ActResource,
  type ReadMessage,
} from "../../../shared/contract/resources.ts";
import { presentError, presentTimelineMessage } from "../../../shared/timeline/present/message.ts";
import type { UserCaller } from "../../auth/authenticate.ts";
import { notHeldError } from "../../auth/require-holder.ts";
import { pathRoom } from "../../http/fields.ts";
import { answerResource, type Answer, type Call } from "../../http/route.ts";
import { overQuotaError } from "../../rate-limit/message-quota.ts";
import type { PostMessageDeps } from "./post-message.ts";
import { adoptingError, listPath, requireReadAccess } from "./room-access.ts";

/** The path of one message. */
export const messagePath = `${listPath}/{id}`;

/** A message as it will be, and the act that makes it so: null where there was nothing to do. */
export const actedMessage = readMessage.extend({ act: actResource.nullable() }).meta({ id: "ActedMessage" });

/** The id of the message in a path. @throws AppError `not_found`. */
export function pathMessage(params: Readonly<Record<string, string>>): string {
  const id = z.uuid().safeParse(params["id"]).data;
  if (id === undefined) throw noSuchMessage();
  return id;
}

export function noSuchMessage(): AppError {
  return new AppError("not_found", "There is no such message.");
}

type ActCall = Pick<
  Call<UserCaller, unknown, unknown>,
  "caller" | "params" | "header" | "requestId" | "settle"
>;

/** An act that was accepted, or had nothing to do. */
export type Acted = {
  roomId: string;
  userId: string;
  target: string;
  act: ActStatusRow | null;
  isReplay: boolean;
  /** The path of the message. */
  location: string;
};

/**
 * Accepts an act on the message of the path, and waits for its outcome on Matrix where the caller prefers that.
 * @throws AppError for an act that is refused.
 */
export async function performAct(
  deps: PostMessageDeps,
  { caller, params, requestId, settle }: ActCall,
  { act, clientId = null, isUnlimited }: { act: ActContent; clientId?: string | null; isUnlimited: boolean },
): Promise<Acted> {
  const room = pathRoom(params);
  const target = pathMessage(params);
  const { tenantId, user, stamp, limits } = caller;
  const request: NewAct = {
    ...{ tenantId, user, stamp, room, target, act, clientId, requestId },
    requestHash: clientId === null ? null : hashAct(`${formatRoomKey(room)}\n${target}`, act),
    roomLimit: limits.roomMessages,
  };
  const outcome = isUnlimited
    ? await deps.accept(request)
    : await deps.withinQuota(tenantId, limits.queuedMessages, () => deps.accept(request));
  if (outcome === null) throw overQuotaError("tenant");
  const acted = await describe(deps.db, caller, request, outcome);
  const { act: first } = acted;
  if (!first) return acted;
  const read = async () => (await findAct(deps.db, tenantId, first.id)) ?? first;
  return { ...acted, act: await settle(first, read, isFinal) };
}

async function describe(db: Db, caller: UserCaller, request: NewAct, outcome: ActAcceptance): Promise<Acted> {
  const { tenantId, room, target, act, requestHash } = request;
  const location = locationOf(room, target);
  if (outcome.outcome === "done") {
    const { entry, id } = outcome;
    const { status, error_code, error_message } = entry;
    const row = { id, target_id: target, status: status ?? "sent", error_code, error_message };
    const userId = entry.sender_id ?? "";
    return { roomId: entry.room_id, userId, target, act: row, isReplay: false, location };
  }
  if (outcome.outcome !== "unchanged" && outcome.outcome !== "replayed")
    throw refusalError(outcome.outcome, act.kind);
  const { room_id: roomId, user_id: userId } = await requireReadAccess(db, caller, room);
  const place = { roomId, userId, target, location };
  if (outcome.outcome === "unchanged") {
    const last = await findLastAct(db, { tenantId, target, person: userId, ...lastOf(act) });
    return { ...place, act: last, isReplay: false };
  }
  const earlier = await findAct(db, tenantId, outcome.id);
  // What was deleted since has no hash.
  const isSame = outcome.requestHash === null || outcome.requestHash === requestHash;
  if (earlier?.target_id !== target || !isSame)
    throw new AppError("idempotency_key_reused", "The key was used for another request.");
  return { ...place, act: earlier, isReplay: true };
}

/** How an act is found that a request repeats. */
function lastOf(act: ActContent): { key: string | null; kinds: readonly ActKind[] } {
  if ("key" in act) return { key: act.key, kinds: ["reaction", "unreaction"] };
  return { key: null, kinds: act.kind === "deletion" ? ["deletion"] : ["pin", "unpin"] };
}

export function locationOf({ kind, slug }: RoomAddress, id: string): string {
  return `/v1/rooms/${kind}/${encodeURIComponent(slug)}/messages/${id}`;
}

/** The message of an act as it will be, with the act. */
export async function answerActed(db: Db, tenantId: string, acted: Acted): Promise<Answer> {
  const message = await readForMember(db, tenantId, acted);
  return answerWith(acted, { ...message, act: presentAct(acted.act) });
}

/** 200 when nothing more will happen on Matrix, else 202 with the address of the message. */
export function answerWith({ act, isReplay, location, roomId, target }: Acted, body: unknown): Answer {
  const isOver = act === null || isFinal(act);
  const answer = answerResource(body, { isFinal: isOver, location });
  return {
    ...answer,
    headers: { ...answer.headers, ...(isReplay ? { "Idempotency-Replayed": "true" } : {}) },
    about: { room: roomId, message: target, ...(act === null ? {} : { act: act.id }) },
  };
}

/** A message as a member reads it. @throws AppError `not_found`. */
export async function readForMember(
  db: Db,
  tenantId: string,
  { roomId, userId, target }: { roomId: string; userId: string; target: string },
): Promise<ReadMessage> {
  const row = await findTimelineMessage(db, tenantId, roomId, target);
  if (!row) throw noSuchMessage();
  const own = await readOwnReactions(db, { roomId, person: userId }, row.reactions ? [target] : []);
  return { ...presentTimelineMessage(row), myReactions: own.get(target) ?? [] };
}

export function presentAct(act: ActStatusRow | null): ActResource | null {
  return act && { id: act.id, status: act.status, error: presentError(act) };
}

function isFinal({ status }: ActStatusRow): boolean {
  return status === "sent" || status === "dead";
}

/** Distinguishes a repeated request from another one with the same client id. */
function hashAct(target: string, act: ActContent): string {
  return createHash("sha256")
    .update(`${act.kind}\n${target}\n${identifyAct(act)}`, "utf8")
    .digest("hex");
}

function refusalError(
  outcome: Exclude<ActAcceptance["outcome"], "done" | "unchanged" | "replayed">,
  kind: ActContent["kind"],
): AppError {
  switch (outcome) {
    case "token_not_held":
      return notHeldError();
    case "room_full":
      return overQuotaError("room");
    case "room_adopting":
      return adoptingError();
    case "no_such_room":
      return new AppError("not_found", "There is no such room.");
    case "no_such_message":
      return noSuchMessage();
    case "may_not_act":
      return new AppError("forbidden", "You may not do this to the message.");
    case "target_deleted":
      return new AppError("conflict", "The message is deleted.");
    case "too_many":
      if (kind === "pin") return new AppError("conflict", "The room has too many pinned messages.");
      return new AppError("invalid", "The request is not valid.", {
        errors: [{ path: "key", message: "the message has too many different reactions" }],
      });
  }
}
