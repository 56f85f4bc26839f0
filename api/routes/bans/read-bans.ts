import { z } from "zod";
import { listBans } from "../../../shared/db/bans/bans.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { userName } from "../../../shared/contract/names.ts";
import { banResource } from "../../../shared/contract/resources.ts";
import type { Caller } from "../../auth/authenticate.ts";
import { decodeCursor, nextCursor, pathRoom, pathUser } from "../../http/fields.ts";
import { pageFields, toPage } from "../../http/paging.ts";
import { serverRoute, userRoute, type Answer, type Call, type Route } from "../../http/route.ts";
import { listPath, path, presentBan, readBan, requireBanAccess, RIGHT, tag } from "./ban.ts";

const listQuery = z.strictObject(pageFields);
const banPage = z.strictObject({ items: z.array(banResource), next: nextCursor }).meta({ id: "BanPage" });

const listShape = {
  ...({ method: "get", path: listPath, tag } as const),
  summary: "List who is banned from a room, sorted by their ids",
  query: listQuery,
  answers: { 200: { schema: banPage, description: "A page of bans" } },
};
const oneShape = {
  ...({ method: "get", path, tag } as const),
  summary: "Read a ban",
  answers: { 200: { schema: banResource, description: "The person is banned" } },
};

/** Both calls, for a product's backend and for people. */
export function readBansRoutes({ db }: { db: Db }): Route[] {
  const list = (call: Call<Caller, undefined, z.output<typeof listQuery>>) => answerBans(db, call);
  const read = (call: Call<Caller, undefined, undefined>) => answerBan(db, call);
  return [
    serverRoute({ ...listShape, problems: ["not_found", "invalid"] }, list),
    userRoute({ ...listShape, description: RIGHT, problems: ["forbidden", "not_found", "invalid"] }, list),
    serverRoute({ ...oneShape, problems: ["not_found"] }, read),
    userRoute({ ...oneShape, description: RIGHT, problems: ["forbidden", "not_found"] }, read),
  ];
}

async function answerBans(
  db: Db,
  { caller, params, query }: Call<Caller, undefined, z.output<typeof listQuery>>,
): Promise<Answer> {
  const roomId = await requireBanAccess(db, caller, pathRoom(params));
  const cursor = decodeCursor(query.cursor, (position) => userName.safeParse(position).data ?? null);
  const { limit } = query;
  const bans = await listBans(db, { tenantId: caller.tenantId, roomId }, { limit: limit + 1, cursor });
  const { rows, next } = toPage(bans, limit, (row) => row.user);
  return { status: 200, body: { items: rows.map(presentBan), next } };
}

async function answerBan(db: Db, { caller, params }: Call<Caller, undefined, undefined>): Promise<Answer> {
  const roomId = await requireBanAccess(db, caller, pathRoom(params));
  const body = await readBan(db, { tenantId: caller.tenantId, roomId, user: pathUser(params) });
  return { status: 200, body };
}
