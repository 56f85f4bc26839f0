import { Router, type Handler, type Request, type Response } from "express";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { Queues } from "../../shared/queues/open.ts";
import type { ProblemWatch } from "../../shared/platform/problems/problems.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { Page } from "../http/health.ts";
import { contextOf } from "../http/request-context.ts";
import { identifyCaller, type RateLimits } from "../rate-limit/rate-limits.ts";
import { loginRouter } from "./login.ts";
import type { KeyCaller } from "../auth/authenticate.ts";
import { identifyOperator, isRead, requireWriteAccess, type OperatorDeps } from "./operator.ts";
import { createQueuesBoard } from "./queue-board.ts";
import { requireSameSite } from "./same-site.ts";
import { readStatus, sendStatusPage } from "./status-page.ts";

const STATUS_PATH = "/admin";
const QUEUES_PATH = "/admin/queues";
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
  "connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

type PagesDeps = OperatorDeps & {
  queues: Queues;
  redis: Redis;
  problems: Pick<ProblemWatch, "read">;
  limits: RateLimits;
};

/** The operators' pages under `/admin`. All tenants share the queues; a job carries row ids only. */
export function adminPage(deps: PagesDeps): Page {
  const router = Router();
  const boards = {
    operator: createQueuesBoard(deps.queues, QUEUES_PATH, { isReadOnly: false }),
    viewer: createQueuesBoard(deps.queues, QUEUES_PATH, { isReadOnly: true }),
  };
  router.get("/", async (request, response) => {
    if (!(await findCaller(deps, request, response, STATUS_PATH))) return;
    sendStatusPage(response, await readStatus(deps.db, deps.problems), QUEUES_PATH);
  });
  router.use(loginRouter(deps));
  router.use("/queues", showQueues(deps, boards));
  return { path: STATUS_PATH, handler: router };
}

/** The operator or viewer who sends a request. Null for a browser that must log in: then the response is sent. */
async function findCaller(
  deps: PagesDeps,
  request: Request,
  response: Response,
  route: string,
): Promise<KeyCaller | null> {
  contextOf(response).route = route;
  const identified = identifyCaller(deps.limits, request, identifyOperator(deps, request));
  const caller = await identified.catch((error: unknown) => {
    if (error instanceof AppError && error.code === "unauthorized" && acceptsHtml(request.get("accept")))
      return null;
    throw error;
  });
  if (caller) contextOf(response).caller = caller;
  else response.redirect(303, "/admin/login");
  return caller;
}

function showQueues(deps: PagesDeps, boards: Record<"operator" | "viewer", Handler>): Handler {
  return async (request, response, next) => {
    const caller = await findCaller(deps, request, response, QUEUES_PATH);
    if (!caller) return;
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
