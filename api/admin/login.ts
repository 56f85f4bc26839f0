import express, { Router, type Handler, type Request, type Response } from "express";
import { endSession } from "../../shared/db/tenants/sessions.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import type { SealKey } from "../../shared/platform/seal.ts";
import { authenticateKey } from "../auth/authenticate.ts";
import type { IdentifyCaller } from "../rate-limit/identify-caller.ts";
import type { RateLimits } from "../rate-limit/rate-limits.ts";
import { allowMethods, refuseKnown } from "../http/methods.ts";
import { EXACT_PATHS } from "../http/page.ts";
import { problemHeaders, PROBLEMS } from "../http/problem.ts";
import { contextOf } from "../http/request-context.ts";
import { requireOperator } from "./operator.ts";
import { requireSameSite } from "./same-site.ts";
import {
  findSession,
  nameSession,
  readSession,
  SESSION_COOKIE,
  SESSION_LIFETIME_MS,
  signSession,
} from "./session.ts";

const FORM_BYTES = 1_024;

type LoginDeps = {
  db: Db;
  limits: RateLimits;
  identifyCaller: IdentifyCaller;
  sealKeys: readonly SealKey[];
  now: () => number;
};

/** `/admin/login` (a form for an operator's or a viewer's key) and `/admin/logout`. */
export function loginRouter(deps: LoginDeps): Router {
  const router = Router(EXACT_PATHS);
  router.get("/login", (_request, response) => {
    sendForm(response, 200, "");
  });
  router.post("/login", express.urlencoded({ extended: false, limit: FORM_BYTES }), logIn(deps));
  router.all("/login", allowMethods("GET", "POST"));
  router.post("/logout", logOut(deps));
  router.all("/logout", allowMethods("POST"));
  router.use(refuseKnown);
  return router;
}

function logIn({ db, limits, identifyCaller, sealKeys, now }: LoginDeps): Handler {
  return async (request, response) => {
    try {
      requireSameSite(request);
      const key = readKey(request.body);
      const { address } = contextOf(response);
      await limits.countLogin(address, key);
      const identified = await identifyCaller({ address, credential: key }, () => authenticateKey(db, key));
      const caller = requireOperator(identified);
      const session = signSession(sealKeys, caller.keyId, now() + SESSION_LIFETIME_MS);
      response.cookie(SESSION_COOKIE, session, { ...cookieOptions(request), maxAge: SESSION_LIFETIME_MS });
      response.redirect(303, "/admin/queues");
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      const { "Retry-After": retryAfter } = problemHeaders(error);
      if (retryAfter !== undefined) response.set("Retry-After", retryAfter);
      sendForm(response, PROBLEMS[error.code].status, error.message);
    }
  };
}

/** Ends the session for every process, so that a copy of the cookie opens nothing any more. */
function logOut({ db, sealKeys, now }: LoginDeps): Handler {
  return async (request, response) => {
    requireSameSite(request);
    const session = findSession(request.get("cookie"));
    const keyId = session === null ? null : readSession(sealKeys, session, now());
    if (session !== null && keyId !== null) await endSession(db, keyId, nameSession(session));
    response.clearCookie(SESSION_COOKIE, cookieOptions(request));
    response.redirect(303, "/admin/login");
  };
}

function cookieOptions(request: Request) {
  return { httpOnly: true, sameSite: "strict", secure: request.secure, path: "/admin" } as const;
}

function readKey(body: unknown): string {
  const key: unknown = typeof body === "object" && body !== null && "key" in body ? body.key : undefined;
  return typeof key === "string" ? key.trim() : "";
}

/** `fault` is one of our own texts: the form never repeats what was sent. */
function sendForm(response: Response, status: number, fault: string): void {
  response
    .status(status)
    .set(
      "Content-Security-Policy",
      "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    )
    .type("html").send(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>OpenMeet Chat: operators</title>
<style>body{font:16px/1.5 system-ui;max-width:28rem;margin:15vh auto;padding:0 1rem}label,input,button{display:block;width:100%;box-sizing:border-box;margin-top:.5rem;padding:.4rem;font:inherit}p{color:#a00}</style>
</head>
<body>
<h1>Operators</h1>
<form method="post" action="/admin/login">
<label for="key">Operator or viewer key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button>
</form>
<p role="alert">${fault}</p>
</body>
</html>
`);
}
