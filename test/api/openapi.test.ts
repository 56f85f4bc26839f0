import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { Validator } from "@seriousme/openapi-schema-validator";
import { createRoutes, type RouteDeps } from "../../api/routes/index.ts";
import { openApiWorld, type ApiWorld } from "../support/api.ts";

let world: ApiWorld;
type Document = {
  paths: Record<string, Record<string, { summary: string; security: unknown[]; responses: object }>>;
  components: { schemas: object };
};
let document: Document;

beforeAll(async () => {
  world = await openApiWorld();
  document = (await world.as(null)("GET", "/docs/openapi.json")).body as Document;
});
afterAll(() => world.close());

test("the document is valid OpenAPI 3.1", async () => {
  const validator = new Validator();
  expect(await validator.validate(structuredClone(document))).toEqual({ valid: true });
  expect(validator.version).toBe("3.1");
});

test("every reference leads to a schema", () => {
  const names = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(
    ([, name]) => name,
  );
  expect(names.length).toBeGreaterThan(10);
  for (const name of new Set(names)) expect(Object.keys(document.components.schemas)).toContain(name);
});

test("every call that is served is described, with its credential and its problems", () => {
  const served = createRoutes({} as RouteDeps).map(({ shape }) => `${shape.method} ${shape.path}`);
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  );
  expect(described.filter((call) => call.includes(" /v1/")).sort()).toEqual(served.sort());
  for (const [path, methods] of Object.entries(document.paths)) {
    if (!path.startsWith("/v1/")) continue;
    for (const { security, responses } of Object.values(methods)) {
      expect(security).toHaveLength(1);
      expect(Object.keys(responses)).toEqual(expect.arrayContaining(["200", "401", "403", "503"]));
    }
  }
});

test("the page of the document comes from here alone", async () => {
  const page = await world.as(null)("GET", "/docs");
  expect(page.status).toBe(200);
  expect(page.headers.get("content-security-policy")).toContain("script-src 'self'");
  expect(page.body).not.toMatch(/https?:/);
  for (const asset of ["swagger-ui.css", "swagger-ui-bundle.js", "start.js"]) {
    expect((await world.as(null)("GET", `/docs/${asset}`)).status).toBe(200);
  }
});
