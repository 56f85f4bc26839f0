import { Router, type Handler } from "express";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { Queues } from "../../shared/queues/open.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { Page } from "../http/health.ts";
import { contextOf } from "../http/request-context.ts";
import { identifyCaller, type RateLimits } from "../rate-limit/rate-limits.ts";
import { loginRouter } from "./login.ts";
import { identifyOperator, isRead, requireWriteAccess, type OperatorDeps } from "./operator.ts";
import { createQueuesBoard } from "./queue-board.ts";
import { requireSameSite } from "./same-site.ts";

const QUEUES_PATH = "/admin/queues";
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
  "connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

/** The operators' pages under `/admin`. All tenants share the queues; a job carries row ids only. */
export function adminPage(deps: OperatorDeps & { queues: Queues; redis: Redis; limits: RateLimits }): Page {
  const router = Router();
  const boards = {
    operator: createQueuesBoard(deps.queues, QUEUES_PATH, { isReadOnly: false }),
    viewer: createQueuesBoard(deps.queues, QUEUES_PATH, { isReadOnly: true }),
  };
  router.get("/", (_request, response) => {
    response.redirect(303, QUEUES_PATH);
  });
  router.use(loginRouter(deps));
  router.use("/queues", showQueues(deps, boards));
  return { path: "/admin", handler: router };
}

function showQueues(
  deps: OperatorDeps & { redis: Redis; limits: RateLimits },
  boards: Record<"operator" | "viewer", Handler>,
): Handler {
  return async (request, response, next) => {
    contextOf(response).route = QUEUES_PATH;
    const identified = identifyCaller(deps.limits, request, identifyOperator(deps, request));
    const caller = await identified.catch((error: unknown) => {
      if (error instanceof AppError && error.code === "unauthorized" && acceptsHtml(request.get("accept")))
        return null;
      throw error;
    });
    if (!caller) {
      response.redirect(303, "/admin/login");
      return;
    }
    contextOf(response).caller = caller;
    requireWriteAccess(caller, request);
    if (!isRead(request)) requireSameSite(request);
    if (deps.redis.status !== "ready")
      throw new AppError("unavailable", "Redis does not answer, and with it the queues.");
    if (!isRead(request)) {
      const { tenantId, keyId } = caller;
      await insertAudit(deps.db, {
        tenantId,
        actor: keyId,
        action: `queues.${request.method.toLowerCase()}`,
        subject: request.path,
      });
    }
    response.set("Content-Security-Policy", POLICY);
    boards[caller.kind === "operator" ? "operator" : "viewer"](request, response, next);
  };
}

function acceptsHtml(accept: string | undefined): boolean {
  return (accept ?? "").includes("text/html");
}
