import type { Db } from "../../../shared/db/connection/open.ts";
import type { DesiredRoom } from "../../../shared/db/rooms/many/desired-room.ts";
import { findRoomWithPosition, presentRoom } from "../../../shared/db/rooms/rooms.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import type { RoomAddress } from "../../../shared/contract/names.ts";
import { roomResource, type RoomResource } from "../../../shared/contract/resources.ts";
import { roomName, roomTopic } from "../../../shared/contract/room-fields.ts";
import type { KeyedMutex } from "../../../shared/platform/concurrency/keyed-mutex.ts";
import type { AfterCommit } from "../../after-commit/after-commit.ts";
import type { Caller } from "../../auth/authenticate.ts";
import { avatarUrl, join, postingField, retentionDays, slowModeS, visibility } from "../../http/fields.ts";
import { answerResource, type Answer, type Call } from "../../http/route.ts";

export const tag = "rooms";
export const listPath = "/v1/rooms";
export const path = `${listPath}/{kind}/{slug}`;

export type RoomDeps = { db: Db; afterCommit: AfterCommit; mutex: KeyedMutex };
export type RoomCall = { caller: Pick<Caller, "tenantId">; settle: Call<Caller, unknown, unknown>["settle"] };

export const roomFields = {
  name: roomName.optional(),
  topic: roomTopic.nullish(),
  avatar: avatarUrl.nullish(),
  visibility: visibility.optional(),
  join: join.optional(),
  posting: postingField.optional(),
  slowModeS: slowModeS.optional(),
  retentionDays: retentionDays.optional(),
};

/** Answers of the calls that make or change a room. */
export const changeAnswers = {
  200: { schema: roomResource, description: "Matrix has the room as requested" },
  202: { schema: roomResource, description: "Accepted; the room on Matrix is still being made or changed" },
};

/** Answers with the room, after the wait that the caller prefers. */
export async function settleRoom(
  db: Db,
  { caller, settle }: RoomCall,
  address: RoomAddress,
): Promise<Answer> {
  const read = () => readRoom(db, caller.tenantId, address);
  const room = await settle(await read(), read, isRoomFinal);
  return answerResource(room, { isFinal: isRoomFinal(room), location: roomLocation(address) });
}

/** @throws AppError `not_found`. */
export async function readRoom(db: Db, tenantId: string, address: RoomAddress): Promise<RoomResource> {
  const room = await findRoomWithPosition(db, tenantId, address);
  if (!room) throw new AppError("not_found", "There is no such room.");
  return presentRoom(room);
}

/** @throws AppError `invalid` for a direct room that is to be public or open, or that is to hinder its two people. */
export function requirePrivateDirect({ kind }: RoomAddress, fields: Partial<DesiredRoom>): void {
  if (kind === "direct" && fields.visibility === "public")
    throw fieldError("visibility", "of a direct room is private");
  if (kind === "direct" && fields.join === "open") throw fieldError("join", "of a direct room is invite");
  if (kind === "direct" && fields.posting === "speakers")
    throw fieldError("posting", "of a direct room is everyone");
  if (kind === "direct" && (fields.slowModeS ?? 0) > 0)
    throw fieldError("slowModeS", "of a direct room is 0");
}

export function fieldError(field: string, message: string): AppError {
  return new AppError("invalid", "The body is not valid.", { errors: [{ path: field, message }] });
}

function isRoomFinal({ status }: RoomResource): boolean {
  return status !== "pending";
}

function roomLocation({ kind, slug }: RoomAddress): string {
  return `/v1/rooms/${kind}/${encodeURIComponent(slug)}`;
}
