import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import { findMember, presentMember } from "../../../shared/db/memberships/memberships.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import type { RoomAddress } from "../../../shared/contract/names.ts";
import { memberResource, type MemberResource } from "../../../shared/contract/resources.ts";
import type { KeyedMutex } from "../../../shared/platform/concurrency/keyed-mutex.ts";
import type { AfterCommit } from "../../after-commit/after-commit.ts";
import { nextCursor } from "../../http/fields.ts";
import { answerResource, type Answer } from "../../http/route.ts";

export const tag = "members";
export const listPath = "/v1/rooms/{kind}/{slug}/members";
export const path = `${listPath}/{user}`;

export type MemberDeps = { db: Db; afterCommit: AfterCommit; mutex: KeyedMutex };

export const memberPage = z
  .strictObject({ items: z.array(memberResource), next: nextCursor })
  .meta({ id: "MemberPage" });

/** @throws AppError `not_found`. */
export async function readMember(
  db: Db,
  key: { tenantId: string; roomId: string; user: string },
): Promise<MemberResource> {
  const member = await findMember(db, key.tenantId, key.roomId, key.user);
  if (!member) throw new AppError("not_found", "There is no such member.");
  return presentMember(member);
}

export function answerMember(address: RoomAddress, member: MemberResource): Answer {
  const location = `${membersLocation(address)}/${encodeURIComponent(member.user)}`;
  return answerResource(member, { isFinal: isMemberFinal(member), location });
}

export function isMemberFinal({ status }: MemberResource): boolean {
  return status !== "pending";
}

export function membersLocation({ kind, slug }: RoomAddress): string {
  return `/v1/rooms/${kind}/${encodeURIComponent(slug)}/members`;
}
