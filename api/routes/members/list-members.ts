import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import { listMembers, presentMember } from "../../../shared/db/memberships/memberships.ts";
import { findRoom } from "../../../shared/db/rooms/rooms.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { userName } from "../../../shared/contract/names.ts";
import { decodeCursor, pathRoom } from "../../http/fields.ts";
import { pageFields, toPage } from "../../http/paging.ts";
import { serverRoute, userRoute, type Answer, type Route } from "../../http/route.ts";
import { requireReadAccess } from "../messages/room-access.ts";
import { listPath, memberPage, tag, type MemberDeps } from "./member.ts";

const listQuery = z.strictObject(pageFields);
const summary = "List a room's members, sorted by their ids";
const answers = { 200: { schema: memberPage, description: "A page of members" } };

export function listMembersRoute({ db }: Pick<MemberDeps, "db">): Route {
  return serverRoute(
    {
      ...{ method: "get", path: listPath, tag, summary },
      ...{ query: listQuery, answers, problems: ["not_found", "invalid"] },
    },
    async ({ caller: { tenantId }, params, query }) => {
      const room = await findRoom(db, tenantId, pathRoom(params));
      if (!room) throw new AppError("not_found", "There is no such room.");
      return answerMembers(db, { tenantId, roomId: room.id }, query);
    },
  );
}

export function listMembersOfUserRoute({ db }: Pick<MemberDeps, "db">): Route {
  return userRoute(
    {
      ...{ method: "get", path: listPath, tag, summary },
      description: "403 for a locked user, 404 for a room that the user is not in, also a public one.",
      ...{ query: listQuery, answers, problems: ["forbidden", "not_found", "invalid"] },
    },
    async ({ caller, params, query }) => {
      const { room_id: roomId } = await requireReadAccess(db, caller, pathRoom(params));
      return answerMembers(db, { tenantId: caller.tenantId, roomId }, query);
    },
  );
}

async function answerMembers(
  db: Db,
  { tenantId, roomId }: { tenantId: string; roomId: string },
  { limit, cursor: text }: z.output<typeof listQuery>,
): Promise<Answer> {
  const cursor = decodeCursor(text, (position) => userName.safeParse(position).data ?? null);
  const members = await listMembers(db, tenantId, roomId, { limit: limit + 1, cursor });
  const { rows, next } = toPage(members, limit, (row) => row.external_id);
  return { status: 200, body: { items: rows.map(presentMember), next } };
}
