import { z } from "zod";
import {
  findMember,
  findMembers,
  listMembers,
  presentMember,
} from "../../shared/db/memberships/memberships.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { findRoom } from "../../shared/db/rooms/rooms.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { userName, type RoomAddress } from "../../shared/contract/names.ts";
import { role } from "../../shared/contract/roles.ts";
import { memberResource, type MemberResource } from "../../shared/contract/resources.ts";
import { putMembers } from "../mutations/put-members.ts";
import { removeMember } from "../mutations/remove-member.ts";
import type { AfterCommit } from "../after-commit/after-commit.ts";
import { roomMutexKey, type KeyedMutex } from "../../shared/platform/concurrency/keyed-mutex.ts";
import {
  cursorText,
  decodeCursor,
  encodeCursor,
  desiredMembers,
  pageLimit,
  pathNewUser,
  pathRoom,
  pathUser,
} from "../http/fields.ts";
import { answerResource, serverRoute, type Answer, type Route } from "../http/route.ts";

const memberBody = z.strictObject({ role: role.default("member") }).meta({ id: "MemberWish" });
const membersBody = z.strictObject({ members: desiredMembers.min(1) }).meta({ id: "MembersWish" });
const listQuery = z.strictObject({ limit: pageLimit, cursor: cursorText.optional() });
const memberPage = z
  .strictObject({ items: z.array(memberResource), next: z.string().nullable() })
  .meta({ id: "MemberPage" });

const tag = "members";
const listPath = "/v1/rooms/{kind}/{slug}/members";
const path = `${listPath}/{user}`;

type Deps = { db: Db; afterCommit: AfterCommit; mutex: KeyedMutex };

export function memberRoutes(deps: Deps): Route[] {
  return [putRoute(deps), getRoute(deps), deleteRoute(deps), postRoute(deps), listRoute(deps)];
}

function putRoute({ db, afterCommit, mutex }: Deps): Route {
  return serverRoute(
    {
      method: "put",
      path,
      tag,
      summary: "Add a member or change the member's role",
      body: { schema: memberBody, isOptional: true, example: { role: "speaker" } },
      answers: {
        200: { schema: memberResource, description: "Matrix has it" },
        202: { schema: memberResource, description: "Wished; Matrix follows" },
      },
      problems: ["not_found", "conflict", "too_many_roles", "invalid"],
      headers: ["Prefer"],
    },
    async ({ caller: { tenantId }, params, body, settle }) => {
      const address = pathRoom(params);
      const user = pathNewUser(params);
      const { roomId, sideEffects } = await mutex(roomMutexKey(tenantId, address), () =>
        putMembers(db, tenantId, address, [{ user, role: body.role }]),
      );
      afterCommit.perform(sideEffects);
      const read = () => readMember(db, { tenantId, roomId, user });
      return answerMember(address, await settle(await read(), read, isMemberFinal));
    },
  );
}

function getRoute({ db }: Deps): Route {
  return serverRoute(
    {
      method: "get",
      path,
      tag,
      summary: "Read a member, also one who was removed",
      answers: { 200: { schema: memberResource, description: "The member" } },
      problems: ["not_found"],
    },
    async ({ caller: { tenantId }, params }) => {
      const room = await findRoom(db, tenantId, pathRoom(params));
      if (!room) throw new AppError("not_found", "There is no such room.");
      return {
        status: 200,
        body: await readMember(db, { tenantId, roomId: room.id, user: pathUser(params) }),
      };
    },
  );
}

function deleteRoute({ db, afterCommit, mutex }: Deps): Route {
  return serverRoute(
    {
      method: "delete",
      path,
      tag,
      summary: "Remove a member",
      description: "What the member had queued in the room is dead. Removing who is not there answers 200.",
      answers: {
        200: { schema: memberResource, description: "The member is gone" },
        202: { schema: memberResource, description: "Out of the room; Matrix follows" },
      },
      problems: ["not_found"],
      headers: ["Prefer"],
    },
    async ({ caller: { tenantId }, params, settle }) => {
      const address = pathRoom(params);
      const user = pathUser(params);
      const { roomId, member, sideEffects } = await mutex(roomMutexKey(tenantId, address), () =>
        removeMember(db, tenantId, address, user),
      );
      afterCommit.perform(sideEffects);
      if (!member) return { status: 200, body: describeNonMember(user) };
      const read = () => readMember(db, { tenantId, roomId, user });
      return answerMember(address, await settle(await read(), read, isMemberFinal));
    },
  );
}

function postRoute({ db, afterCommit, mutex }: Deps): Route {
  return serverRoute(
    {
      method: "post",
      path: listPath,
      tag,
      summary: "Add or change up to 1,000 members, all or none",
      body: { schema: membersBody, example: { members: [{ user: "ada", role: "owner" }, { user: "bob" }] } },
      answers: {
        200: { schema: memberPage, description: "Matrix has all of them" },
        202: { schema: memberPage, description: "Wished; Matrix follows" },
      },
      problems: ["not_found", "conflict", "too_many_roles", "invalid"],
      headers: ["Prefer"],
    },
    async ({ caller: { tenantId }, params, body: { members }, settle }) => {
      const address = pathRoom(params);
      const { roomId, sideEffects } = await mutex(roomMutexKey(tenantId, address), () =>
        putMembers(db, tenantId, address, members),
      );
      afterCommit.perform(sideEffects);
      const names = members.map(({ user }) => user);
      const read = async () => (await findMembers(db, tenantId, roomId, names)).map(presentMember);
      const areFinal = (items: MemberResource[]) => items.every(isMemberFinal);
      const items = await settle(await read(), read, areFinal);
      return answerResource(
        { items, next: null },
        { isFinal: areFinal(items), location: membersLocation(address) },
      );
    },
  );
}

function listRoute({ db }: Deps): Route {
  return serverRoute(
    {
      method: "get",
      path: listPath,
      tag,
      summary: "List a room's members by name",
      query: listQuery,
      answers: { 200: { schema: memberPage, description: "A page of members" } },
      problems: ["not_found", "invalid"],
    },
    async ({ caller: { tenantId }, params, query }) => {
      const room = await findRoom(db, tenantId, pathRoom(params));
      if (!room) throw new AppError("not_found", "There is no such room.");
      const cursor = decodeCursor(query.cursor, (text) => userName.safeParse(text).data ?? null);
      const rows = await listMembers(db, tenantId, room.id, { limit: query.limit + 1, cursor });
      const items = rows.slice(0, query.limit);
      const last = items.at(-1);
      const next = rows.length > items.length && last ? encodeCursor(last.external_id) : null;
      return { status: 200, body: { items: items.map(presentMember), next } };
    },
  );
}

async function readMember(
  db: Db,
  key: { tenantId: string; roomId: string; user: string },
): Promise<MemberResource> {
  const member = await findMember(db, key.tenantId, key.roomId, key.user);
  if (!member) throw new AppError("not_found", "There is no such member.");
  return presentMember(member);
}

function answerMember(address: RoomAddress, member: MemberResource): Answer {
  const location = `${membersLocation(address)}/${encodeURIComponent(member.user)}`;
  return answerResource(member, { isFinal: isMemberFinal(member), location });
}

/** Somebody who never was in the room, as removed. */
function describeNonMember(user: string): MemberResource {
  return { user, displayName: null, avatar: null, role: "guest", status: "removed" };
}

function isMemberFinal({ status }: MemberResource): boolean {
  return status !== "pending";
}

function membersLocation({ kind, slug }: RoomAddress): string {
  return `/v1/rooms/${kind}/${encodeURIComponent(slug)}/members`;
}
