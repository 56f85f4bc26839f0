import { createBullBoard } from "@bull-board/api";
import { BullMQAdapter } from "@bull-board/api/bullMQAdapter";
import { ExpressAdapter } from "@bull-board/express";
import type { Handler } from "express";
import type { Queues } from "../../shared/queues/open.ts";

/** The page of all queues. A read-only page has no buttons and refuses commands. */
export function createQueuesBoard(
  queues: Queues,
  basePath: string,
  options: { isReadOnly: boolean },
): Handler {
  const serverAdapter = new ExpressAdapter();
  serverAdapter.setBasePath(basePath);
  createBullBoard({
    queues: Object.values(queues).map(
      (queue) => new BullMQAdapter(queue, { readOnlyMode: options.isReadOnly }),
    ),
    serverAdapter,
    options: { uiConfig: { boardTitle: "OpenMeet Chat", miscLinks: [{ text: "Status", url: "/admin" }] } },
  });
  return serverAdapter.getRouter() as Handler;
}
