import { z } from "zod";
import { listMembers, presentMember } from "../../../shared/db/memberships/memberships.ts";
import { findRoom } from "../../../shared/db/rooms/rooms.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { userName } from "../../../shared/contract/names.ts";
import { cursorText, decodeCursor, encodeCursor, pageLimit, pathRoom } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { listPath, memberPage, tag, type MemberDeps } from "./member.ts";

const listQuery = z.strictObject({ limit: pageLimit, cursor: cursorText.optional() });

export function listMembersRoute({ db }: Pick<MemberDeps, "db">): Route {
  return serverRoute(
    {
      method: "get",
      path: listPath,
      tag,
      summary: "List a room's members, sorted by their ids",
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
