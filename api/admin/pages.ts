import { Router, type Handler, type Request, type Response } from "express";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { Queues } from "../../shared/queues/open.ts";
import type { ProblemWatch } from "../../shared/platform/problems/problems.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { KeyCaller } from "../auth/authenticate.ts";
import { EXACT_PATHS, type Page } from "../http/page.ts";
import { contextOf } from "../http/request-context.ts";
import type { IdentifyCaller } from "../rate-limit/identify-caller.ts";
import type { RateLimits } from "../rate-limit/rate-limits.ts";
import { allowMethods, refuseKnown } from "../http/methods.ts";
import { loginRouter } from "./login.ts";
import {
  authenticateOperator,
  isRead,
  readOperatorCredential,
  requireOperator,
  requireWriteAccess,
  type OperatorDeps,
} from "./operator.ts";
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
  identifyCaller: IdentifyCaller;
};

/** The operators' pages under `/admin`. All tenants share the queues; a job carries row ids only. */
export function adminPage(deps: PagesDeps): Page {
  const router = Router(EXACT_PATHS);
  const boards = {
    operator: createQueuesBoard(deps.queues, QUEUES_PATH, { isReadOnly: false }),
    viewer: createQueuesBoard(deps.queues, QUEUES_PATH, { isReadOnly: true }),
  };
  router.get("/", async (request, response) => {
    if (!(await findCaller(deps, request, response, STATUS_PATH))) return;
    sendStatusPage(response, await readStatus(deps.db, deps.problems), QUEUES_PATH);
  });
  router.all("/", allowMethods("GET"));
  router.use(loginRouter(deps));
  router.use(refuseKnown);
  router.use("/queues", showQueues(deps, boards));
  return { path: STATUS_PATH, handler: router, isFolder: true };
}

/** The operator or viewer who sends a request. Null for a browser that must log in: then the response is sent. */
async function findCaller(
  deps: PagesDeps,
  request: Request,
  response: Response,
  route: string,
): Promise<KeyCaller | null> {
  const context = contextOf(response);
  context.route = route;
  const client = { address: context.address, credential: readOperatorCredential(request) };
  const identified = await deps
    .identifyCaller(client, () => authenticateOperator(deps, request))
    .catch((error: unknown) => {
      if (error instanceof AppError && error.code === "unauthorized" && acceptsHtml(request.get("accept")))
        return null;
      throw error;
    });
  if (!identified) {
    response.redirect(303, "/admin/login");
    return null;
  }
  context.caller = identified;
  return requireOperator(identified);
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
