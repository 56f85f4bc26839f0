import type { Handler, Request } from "express";
import { AppError } from "../../shared/contract/errors.ts";

const allowedMethods = new WeakMap<Request, Set<string>>();

/** Follows the handlers of a path: a request that reaches it has another method than these. */
export function allowMethods(...methods: readonly string[]): Handler {
  return (request, _response, next) => {
    const allowed = allowedMethods.get(request) ?? new Set<string>();
    allowedMethods.set(request, allowed);
    for (const method of methods) allowed.add(method.toUpperCase());
    if (allowed.has("GET")) allowed.add("HEAD");
    next();
  };
}

/** Follows the handlers of a folder: refuses as `refuseRest`, and passes an unknown path on. */
export const refuseKnown: Handler = (request, response, next) => {
  if (allowedMethods.has(request)) void refuseRest(request, response, next);
  else next();
};

/**
 * Follows all handlers: answers OPTIONS of a known path with its methods.
 * @throws AppError `method_not_allowed` for another method of a known path, `not_found` for an unknown path.
 */
export const refuseRest: Handler = (request, response) => {
  const allowed = allowedMethods.get(request);
  if (!allowed) throw new AppError("not_found", "There is nothing at this address.");
  const methods = [...allowed, "OPTIONS"].sort();
  if (request.method !== "OPTIONS")
    throw new AppError("method_not_allowed", `This path takes ${methods.join(", ")}.`, {
      allowedMethods: methods,
    });
  response.set("Allow", methods.join(", ")).status(204).end();
};
