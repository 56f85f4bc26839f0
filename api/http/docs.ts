import { Router } from "express";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { allowMethods, refuseKnown } from "./methods.ts";
import { EXACT_PATHS, type Page } from "./page.ts";

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>OpenMeet Chat API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`;

const START = `SwaggerUIBundle({ url: "/docs/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null });
`;

const FILES = ["swagger-ui.css", "swagger-ui-bundle.js"];

/**
 * `/docs` (Swagger UI, which loads nothing from other hosts), `/docs/openapi.json`, and `/docs/events.json`: the JSON Schemas of domain
 * events.
 */
export function docsPage(document: unknown, events: unknown): Page {
  const router = Router(EXACT_PATHS);
  const assets = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
  router.use((_request, response, next) => {
    response.set("Content-Security-Policy", POLICY);
    next();
  });
  router.get("/", (_request, response) => void response.type("html").send(PAGE));
  router.get("/start.js", (_request, response) => void response.type("js").send(START));
  router.get("/openapi.json", (_request, response) => void response.json(document));
  router.get("/events.json", (_request, response) => void response.json(events));
  for (const file of FILES) {
    router.get(`/${file}`, (_request, response) => {
      response.set("Cache-Control", "public, max-age=3600").sendFile(join(assets, file));
    });
  }
  for (const path of ["/", "/start.js", "/openapi.json", "/events.json", ...FILES.map((file) => `/${file}`)])
    router.all(path, allowMethods("GET"));
  router.use(refuseKnown);
  return { path: "/docs", handler: router, isFolder: true };
}
