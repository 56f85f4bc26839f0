import type { AfterCommit } from "../../after-commit/after-commit.ts";
import type { Route } from "../../http/route.ts";
import { deleteMessageRoute } from "./delete-message.ts";
import { getMessageRoute } from "./get-message.ts";
import { listEditsRoute } from "./list-edits.ts";
import { listMessagesRoute } from "./list-messages.ts";
import { listReactionsRoute } from "./list-reactions.ts";
import { patchMessageRoute } from "./patch-message.ts";
import { postMessageRoute, type PostMessageDeps } from "./post-message.ts";
import { reactionRoutes } from "./reactions.ts";
import { retryMessageRoute } from "./retry-message.ts";

export function messageRoutes(deps: PostMessageDeps & { afterCommit: AfterCommit }): Route[] {
  return [
    postMessageRoute(deps),
    listMessagesRoute(deps),
    getMessageRoute(deps),
    patchMessageRoute(deps),
    deleteMessageRoute(deps),
    retryMessageRoute(deps),
    listEditsRoute(deps),
    ...reactionRoutes(deps),
    listReactionsRoute(deps),
  ];
}
