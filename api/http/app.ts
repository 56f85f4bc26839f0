import express, { type Express, type NextFunction, type Request, type Response } from "express";
import { createClientAddresses } from "../../shared/auth/client-address.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, roomAddress } from "../../shared/contract/names.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { Histogram } from "../../shared/platform/metrics.ts";
import { ACT_AS, type ActAs } from "../auth/act-as.ts";
import type { Authenticate, Caller } from "../auth/authenticate.ts";
import { findRepeatedHeader } from "../../shared/platform/http/http-server.ts";
import { checkShape, MAX_BODY_BYTES, readJson } from "./body.ts";
import { createCors, requireOrigin } from "./cors.ts";
import type { IdentifyCaller } from "../rate-limit/identify-caller.ts";
import type { LimitedCall } from "../rate-limit/rate-limits.ts";
import { describeProblem, problemHeaders, toAppError } from "./problem.ts";
import { contextOf, createRequestLog } from "./request-context.ts";
import { allowMethods, refuseRest } from "./methods.ts";
import { EXACT_PATHS, type Page } from "./page.ts";
import { groupRoutes, type Answer, type Call, type CallRoutes, type Route } from "./route.ts";
import { readPreferredWaitS, type LongPoll } from "./long-poll.ts";

export type AppDeps = {
  log: Log;
  authenticate: Authenticate;
  actAs: ActAs;
  routes: readonly Route[];
  longPoll: LongPoll;
  identifyCaller: IdentifyCaller;
  allowedOrigins: readonly string[];
  isKnownOrigin: (origin: string) => boolean;
  /** Addresses of proxies that are trusted about a client's address and protocol. */
  trustedProxies: readonly string[];
  durations: Histogram<"method" | "route" | "status">;
  /** Health, the OpenAPI document, the operators' pages. */
  pages: readonly Page[];
};

/** The API as an Express application: pages, routes, and a problem for everything else. */
export function createApp(deps: AppDeps): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.set("query parser", "simple");
  app.set("case sensitive routing", EXACT_PATHS.caseSensitive);
  app.set("strict routing", EXACT_PATHS.strict);
  // Express would answer 304 to `If-None-Match: *`, though no answer of the API has a validator.
  Object.defineProperty(app.request, "fresh", { value: false });
  const addresses = createClientAddresses(deps.trustedProxies);
  app.set("trust proxy", addresses.isTrusted);
  app.use(createRequestLog(deps.log, deps.durations, addresses));
  app.use(setSecurityHeaders);
  app.use(requireSingleHeaders);
  app.use(createCors(deps.isKnownOrigin));
  for (const { path, handler, isFolder = false } of deps.pages) {
    if (isFolder) app.use(path, handler);
    else app.get(path, handler).all(path, allowMethods("GET"));
  }
  const calls = groupRoutes(deps.routes);
  for (const call of calls)
    app[call.method](expressPath(call.path), identify(deps, call), readBytes(call), run(deps, call));
  for (const { method, path } of calls) app.all(expressPath(path), allowMethods(method));
  app.use(refuseRest);
  app.use(sendProblem(deps.log));
  return app;
}

/** A route's path as Express writes it. */
function expressPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ":$1");
}

/** Refuses a header that a proxy and this process could read differently, because it was sent twice. */
function requireSingleHeaders(request: Request, _response: Response, next: NextFunction): void {
  const repeated = findRepeatedHeader(request.rawHeaders);
  if (repeated !== null) throw new AppError("malformed", `Send the header ${repeated} once.`);
  next();
}

const HTTPS_FOR_S = 31_536_000;

function setSecurityHeaders(request: Request, response: Response, next: NextFunction): void {
  response.set({
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    ...(request.secure ? { "Strict-Transport-Security": `max-age=${HTTPS_FOR_S}` } : {}),
  });
  next();
}

/** Reads the body, as long as the longest that one of a call's routes takes. */
function readBytes({ routes }: CallRoutes): express.Handler {
  const limit = Math.max(...routes.map(({ shape }) => shape.body?.maxBytes ?? MAX_BODY_BYTES));
  return express.raw({ type: () => true, limit, inflate: false });
}

/** Checks the caller, the rate limits and the kind of credential before the body is read. */
function identify(deps: AppDeps, call: CallRoutes): express.Handler {
  const { authenticate, identifyCaller, allowedOrigins } = deps;
  return async (request, response, next) => {
    const context = contextOf(response);
    context.route = call.path;
    const authorization = request.get("authorization");
    const client = { address: context.address, credential: authorization ?? null };
    const limited = limitedCall(call, request);
    const holder = await identifyCaller(client, () => authenticate(authorization), limited);
    context.caller = holder;
    requireOrigin(request, holder, allowedOrigins);
    context.caller = await readActor(deps, call, holder, request.get(ACT_AS));
    chooseRoute(call, context.caller);
    next();
  };
}

/** What a person's call is counted under instead of the person alone. */
function limitedCall({ routes }: CallRoutes, request: Request): LimitedCall | null {
  const limit = routes.find(({ access }) => access === "user")?.shape.limit;
  const room = roomAddress.safeParse(request.params).data;
  return limit && room ? { limit, room: formatRoomKey(room) } : null;
}

/** The caller, or the person as whom a server key calls. */
async function readActor(
  { actAs }: AppDeps,
  { method, path, routes }: CallRoutes,
  holder: Caller,
  name: string | undefined,
): Promise<Caller> {
  if (name === undefined) return holder;
  if (routes.some(({ access }) => access === "user"))
    return actAs(holder, name, `${method.toUpperCase()} ${path}`);
  throw new AppError("invalid", "The request is not valid.", {
    errors: [{ path: ACT_AS, message: "is for the calls of a user" }],
  });
}

/** @throws AppError `wrong_credential`. */
function chooseRoute({ routes }: CallRoutes, caller: Caller): Route {
  const route = routes.find(({ access }) => access === caller.kind);
  if (route) return route;
  const needed = routes.map(({ access }) => (access === "server" ? "a server key" : "a user token"));
  throw new AppError("wrong_credential", `This call needs ${needed.join(" or ")}.`);
}

function run(deps: AppDeps, routes: CallRoutes): express.Handler {
  return async (request, response) => {
    const { caller } = contextOf(response);
    if (!caller) throw new Error("a route ran without a caller");
    const route = chooseRoute(routes, caller);
    const waitS = route.shape.headers?.includes("Prefer") ? readPreferredWaitS(request.get("prefer")) : 0;
    const wait = { isKept: false };
    const call: Call<Caller, unknown, unknown> = {
      caller,
      params: readParams(request),
      query: readQuery(route, request),
      search: /\?.*$/.exec(request.originalUrl)?.[0] ?? "",
      body: readBody(route, request),
      requestId: contextOf(response).requestId,
      header: (name) => request.get(name),
      settle: async (first, read, isFinal) => {
        const { value, isKept } = await deps.longPoll(first, read, isFinal, {
          ...{ waitS, signal: closedSignal(response) },
          ...{ tenantId: caller.tenantId, places: caller.limits.longPolls },
        });
        wait.isKept = isKept;
        return value;
      },
    };
    const answer = await route.handle(call);
    contextOf(response).about = answer.about ?? {};
    if (wait.isKept) response.set("Preference-Applied", `wait=${waitS}`);
    send(response, answer);
  };
}

function send(response: Response, { status, body, headers = {} }: Answer): void {
  if (response.writableEnded || response.destroyed) return;
  response.status(status).set(headers);
  if (body === undefined) response.end();
  else response.json(body);
}

/** Aborts when the caller closes the connection. */
function closedSignal(response: Response): AbortSignal {
  const controller = new AbortController();
  response.once("close", () => {
    controller.abort();
  });
  return controller.signal;
}

function readParams(request: Request): Record<string, string> {
  return Object.fromEntries(
    Object.entries(request.params).flatMap(([name, value]) =>
      typeof value === "string" ? [[name, value]] : [],
    ),
  );
}

function readQuery({ shape }: Route, request: Request): unknown {
  const given: Record<string, unknown> = { ...request.query };
  if (shape.query) return checkShape(shape.query, given, "query");
  const [unknown] = Object.keys(given);
  if (unknown === undefined) return undefined;
  throw new AppError("invalid", "The query is not valid.", {
    errors: [{ path: unknown, message: "is not known" }],
  });
}

function readBody({ shape }: Route, request: Request): unknown {
  if (!shape.body) return undefined;
  const raw: unknown = request.body;
  const bytes = Buffer.isBuffer(raw) ? raw : Buffer.alloc(0);
  const { schema, types = ["application/json"], isOptional = false } = shape.body;
  return checkShape(schema, readJson(bytes, request.get("content-type"), { types, isOptional }), "body");
}

function sendProblem(log: Log): express.ErrorRequestHandler {
  return (thrown: unknown, _request, response, next) => {
    const error = toAppError(thrown);
    const { requestId } = contextOf(response);
    if (error.code === "internal") log.error({ err: error.cause, requestId }, "request failed");
    else if (error.code === "unavailable") log.warn({ err: error.cause, requestId }, "request refused");
    if (response.headersSent) {
      next(thrown);
      return;
    }
    const problem = describeProblem(error, requestId);
    response.status(problem.status).set(problemHeaders(error)).send(JSON.stringify(problem));
  };
}
