import type { AfterCommit } from "../../after-commit/after-commit.ts";
import type { Route } from "../../http/route.ts";
import { deleteMessageRoute } from "./delete-message.ts";
import { getMessageByServerRoute, getMessageRoute } from "./get-message.ts";
import { listEditsRoute } from "./list-edits.ts";
import { listMessagesByServerRoute, listMessagesRoute } from "./list-messages.ts";
import { listReactionsRoute } from "./list-reactions.ts";
import { patchMessageRoute } from "./patch-message.ts";
import { postMessageRoute, type PostMessageDeps } from "./post-message.ts";
import { postProductMessageRoute } from "./product/post-product-message.ts";
import { reactionRoutes } from "./reactions.ts";
import { retryMessageRoute } from "./retry-message.ts";

export function messageRoutes(deps: PostMessageDeps & { afterCommit: AfterCommit }): Route[] {
  return [
    postMessageRoute(deps),
    postProductMessageRoute(deps),
    listMessagesRoute(deps),
    listMessagesByServerRoute(deps),
    getMessageRoute(deps),
    getMessageByServerRoute(deps),
    patchMessageRoute(deps),
    deleteMessageRoute(deps),
    retryMessageRoute(deps),
    listEditsRoute(deps),
    ...reactionRoutes(deps),
    listReactionsRoute(deps),
  ];
}
