import { randomUUID } from "node:crypto";
import type { Handler, Response } from "express";
import type { Log } from "../../shared/platform/log.ts";
import type { Histogram } from "../../shared/platform/metrics.ts";
import type { Caller } from "../auth/authenticate.ts";

/**
 * What is known of the request that a response answers. `route` is the template, never the address asked; `about` has
 * ids of what was made.
 */
export type RequestContext = {
  requestId: string;
  route: string;
  caller: Caller | null;
  about: Record<string, string>;
};

const SANE_ID = /^[A-Za-z0-9._-]{1,64}$/;
const contexts = new WeakMap<Response, RequestContext>();

export function contextOf(response: Response): RequestContext {
  const context = contexts.get(response);
  if (!context) throw new Error("the response has no request context");
  return context;
}

/** Gives each request an id (the caller's, if it is sane), and writes one line and one measure of its outcome. */
export function createRequestLog(log: Log, durations: Histogram<"method" | "route" | "status">): Handler {
  return (request, response, next) => {
    const startMs = performance.now();
    const asked = request.get("x-request-id");
    const requestId = asked !== undefined && SANE_ID.test(asked) ? asked : randomUUID();
    const context: RequestContext = { requestId, route: "other", caller: null, about: {} };
    contexts.set(response, context);
    response.set("X-Request-Id", requestId);
    response.once("close", () => {
      const durationMs = Math.round((performance.now() - startMs) * 10) / 10;
      const status = response.writableEnded ? response.statusCode : 499;
      const { route, caller, about } = context;
      durations.observe({ method: request.method, route, status: String(status) }, durationMs / 1_000);
      if (route === "other" && status < 500) return;
      log.info(
        {
          requestId,
          method: request.method,
          route,
          status,
          durationMs,
          tenant: caller?.tenantSlug,
          ...about,
        },
        "request",
      );
    });
    next();
  };
}
