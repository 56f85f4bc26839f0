import type { Route } from "../../http/route.ts";
import { deleteMemberByUserRoute, deleteMemberRoute } from "./delete-member.ts";
import { getMemberRoute } from "./get-member.ts";
import { listMembersOfUserRoute, listMembersRoute } from "./list-members.ts";
import type { MemberDeps } from "./member.ts";
import { postMembersRoute } from "./post-members.ts";
import { putMemberByUserRoute, putMemberRoute } from "./put-member.ts";
import { putMembersRoute } from "./put-members.ts";

export function memberRoutes(deps: MemberDeps): Route[] {
  return [
    putMemberRoute(deps),
    putMemberByUserRoute(deps),
    getMemberRoute(deps),
    deleteMemberRoute(deps),
    deleteMemberByUserRoute(deps),
    postMembersRoute(deps),
    putMembersRoute(deps),
    listMembersRoute(deps),
    listMembersOfUserRoute(deps),
  ];
}
