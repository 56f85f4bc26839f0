import { randomUUID } from "node:crypto";
import type { Handler, Response } from "express";
import type { ClientAddresses } from "../../shared/auth/client-address.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { Histogram } from "../../shared/platform/metrics.ts";
import type { Caller } from "../auth/authenticate.ts";

/** Facts about a request, for its line in the log. `route` is the template, never the path; `about` has ids of what was made. */
export type RequestContext = {
  requestId: string;
  /** The client's address, canonical. */
  address: string;
  route: string;
  caller: Caller | null;
  about: Record<string, string>;
};

const WELL_FORMED_ID = /^[A-Za-z0-9._-]{1,64}$/;
const contexts = new WeakMap<Response, RequestContext>();

export function contextOf(response: Response): RequestContext {
  const context = contexts.get(response);
  if (!context) throw new Error("the response has no request context");
  return context;
}

/** Gives each request an id (the caller's if it is well formed), logs its outcome and observes its duration. */
export function createRequestLog(
  log: Log,
  durations: Histogram<"method" | "route" | "status">,
  addresses: ClientAddresses,
): Handler {
  return (request, response, next) => {
    const startMs = performance.now();
    const asked = request.get("x-request-id");
    const requestId = asked !== undefined && WELL_FORMED_ID.test(asked) ? asked : randomUUID();
    const address = addresses.read(request.socket.remoteAddress, request.get("x-forwarded-for"));
    const context: RequestContext = { requestId, address, route: "other", caller: null, about: {} };
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
          ...(caller?.kind === "user" && caller.keyId !== undefined ? { actingKey: caller.keyId } : {}),
          ...about,
        },
        "request",
      );
    });
    next();
  };
}
