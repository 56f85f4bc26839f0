import { Router, type Handler } from "express";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { Queues } from "../../shared/queues/open.ts";
import type { Redis } from "../../shared/platform/redis.ts";
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

const QUEUES_PATH = "/admin/queues";
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
  "connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

type PageDeps = OperatorDeps & {
  queues: Queues;
  redis: Redis;
  limits: RateLimits;
  identifyCaller: IdentifyCaller;
};

/** The operators' pages under `/admin`. All tenants share the queues; a job carries row ids only. */
export function adminPage(deps: PageDeps): Page {
  const router = Router(EXACT_PATHS);
  const boards = {
    operator: createQueuesBoard(deps.queues, QUEUES_PATH, { isReadOnly: false }),
    viewer: createQueuesBoard(deps.queues, QUEUES_PATH, { isReadOnly: true }),
  };
  router.get("/", (_request, response) => {
    response.redirect(303, QUEUES_PATH);
  });
  router.all("/", allowMethods("GET"));
  router.use(loginRouter(deps));
  router.use(refuseKnown);
  router.use("/queues", showQueues(deps, boards));
  return { path: "/admin", handler: router, isFolder: true };
}

function showQueues(deps: PageDeps, boards: Record<"operator" | "viewer", Handler>): Handler {
  return async (request, response, next) => {
    const context = contextOf(response);
    context.route = QUEUES_PATH;
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
      return;
    }
    context.caller = identified;
    const caller = requireOperator(identified);
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
