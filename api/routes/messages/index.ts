import type { Route } from "../../http/route.ts";
import { getMessageRoute } from "./get-message.ts";
import { listMessagesRoute } from "./list-messages.ts";
import { postMessageRoute, type PostMessageDeps } from "./post-message.ts";

export function messageRoutes(deps: PostMessageDeps): Route[] {
  return [postMessageRoute(deps), listMessagesRoute(deps), getMessageRoute(deps)];
}
