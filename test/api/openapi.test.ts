import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { Validator } from "@seriousme/openapi-schema-validator";
import { request } from "node:http";
import { createRoutes, type RouteDeps } from "../../api/routes/index.ts";
import { openApiWorld, type ApiWorld } from "../support/api.ts";

let world: ApiWorld;
type Parameter = { name: string; in: string; example?: string; description?: string };
type Described = {
  summary: string;
  security: object[];
  parameters: Parameter[];
  responses: Record<string, { headers?: object }>;
};
type Document = {
  paths: Record<string, Record<string, Described>>;
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

test("every reference names a schema of the document", () => {
  const names = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(
    ([, name]) => name,
  );
  expect(names.length).toBeGreaterThan(10);
  for (const name of new Set(names)) expect(Object.keys(document.components.schemas)).toContain(name);
});

test("an answer, a page and a publication name the same schema of a resource", () => {
  const names = Object.keys(document.components.schemas);
  expect(names).toEqual(expect.arrayContaining(["Message", "MyRoom", "Person", "Publication"]));
  expect(names.filter((name) => /(?:Output|Input)$/.test(name))).toEqual([]);
});

test("the document describes every route, with its credential and its problems", () => {
  // A server key and a user may make the same call, by routes of their own.
  const served = new Set(createRoutes({} as RouteDeps).map(({ shape }) => `${shape.method} ${shape.path}`));
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  );
  expect(described.filter((call) => call.includes(" /v1/")).sort()).toEqual([...served].sort());
  for (const [path, methods] of Object.entries(document.paths)) {
    if (!path.startsWith("/v1/")) continue;
    for (const { security, responses } of Object.values(methods)) {
      expect(security.length).toBeGreaterThan(0);
      expect(Object.keys(responses)).toEqual(expect.arrayContaining(["401", "403", "503"]));
      expect(Object.keys(responses).some((status) => ["200", "202", "204"].includes(status))).toBe(true);
    }
  }
});

/** Also a body with a GET, which `fetch` does not send. */
function askStatus(
  credential: string,
  method: string,
  path: string,
  { body = "", headers = {} }: { body?: string; headers?: Record<string, string> },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(
      world.url + path,
      { method, agent: false, headers: { authorization: `Bearer ${credential}`, ...headers } },
      (response) => {
        response.resume();
        response.once("end", () => {
          resolve(response.statusCode ?? 0);
        });
      },
    );
    asked.once("error", reject);
    asked.end(body);
  });
}

function takesLargeBodies(method: string, path: string): boolean {
  return createRoutes({} as RouteDeps).some(
    ({ shape }) => shape.method === method && shape.path === path && shape.body?.maxBytes !== undefined,
  );
}

test("every route describes its answers to an invalid query, body and path", async () => {
  const tenant = await world.tenant("described");
  const { key } = await tenant.key("server");
  const token = await tenant.token("ada");
  const packed = { "content-encoding": "gzip", "content-length": "2" };
  const large = "x".repeat(70_000);
  for (const [template, methods] of Object.entries(document.paths)) {
    if (!template.startsWith("/v1/")) continue;
    for (const [method, { parameters, responses, security }] of Object.entries(methods)) {
      const fill = (value: (one: Parameter) => string) =>
        parameters.reduce((path, one) => path.replace(`{${one.name}}`, value(one)), template);
      const path = fill(({ example }) => example ?? "x");
      const credential = "serverKey" in (security[0] ?? {}) ? key : token;
      const ask = (at: string, options: Parameters<typeof askStatus>[3]) =>
        askStatus(credential, method.toUpperCase(), at, options);
      const seen = [
        await ask(`${path}?nonsense=1`, {}),
        await ask(path, { body: "{}", headers: packed }),
        await ask(path, { body: large, headers: { "content-length": String(large.length) } }),
        ...(template.includes("{")
          ? [
              await ask(
                fill(() => "%E0%A4%A"),
                {},
              ),
            ]
          : []),
      ];
      // A body within the limit is read, and refused for its type.
      const tooLarge = takesLargeBodies(method, template) ? 415 : 413;
      expect(seen).toEqual([422, 415, tooLarge, 400].slice(0, seen.length));
      expect(Object.keys(responses)).toEqual(expect.arrayContaining(seen.map(String)));
    }
  }
});

test("the document says of a request what JSON Schema can, and the description says the rest", () => {
  const schemas = document.components.schemas as Record<
    string,
    { properties: Record<string, { uniqueItems?: boolean; pattern?: string; description?: string }> }
  >;
  const field = (schema: string, name: string) => schemas[schema]?.properties[name] ?? {};
  expect(field("DirectRoomRequest", "users").uniqueItems).toBe(true);
  for (const schema of ["RoomRequest", "MembersRequest"]) {
    expect(field(schema, "members").uniqueItems).toBe(true);
    expect(field(schema, "members").description).toMatch(/named once.*unknownUsers=refuse gets 422/);
  }
  expect(new RegExp(field("NewMessage", "text").pattern ?? "", "u").test(" \u200b\n")).toBe(false);
  const avatar = JSON.stringify(schemas["UserRequest"]?.properties["avatar"]);
  expect(avatar).toContain("[Hh][Tt][Tt][Pp]");
  const parameter = (method: string, path: string, name: string) =>
    document.paths[path]?.[method]?.parameters.find((one) => one.name === name)?.description;
  const room = "/v1/rooms/{kind}/{slug}";
  expect(parameter("get", `${room}/messages`, "before")).toMatch(/Not together with after/);
  expect(parameter("get", `${room}/messages`, "after")).toMatch(/Not together with before/);
  for (const path of [`${room}/members`, "/v1/me/rooms"])
    expect(parameter("get", path, "cursor")).toMatch(/Any other text is refused with 422/);
  expect(parameter("put", room, "slug")).toMatch(/joined by ~.*422/);
  for (const [method, path] of [
    ["put", room],
    ["put", `${room}/members/{user}`],
    ["post", `${room}/members`],
    ["put", "/v1/rooms/direct"],
  ] as const) {
    const described = JSON.stringify(document.paths[path]?.[method]) + JSON.stringify(schemas["RoomRequest"]);
    expect(described).toMatch(/unknownUsers=refuse/);
  }
});

test("the document describes the headers of answers", () => {
  const headersOf = (method: string, path: string, status: number) => {
    const answer = document.paths[path]?.[method]?.responses[status];
    return Object.keys(answer?.headers ?? {}).sort();
  };
  const messages = "/v1/rooms/{kind}/{slug}/messages";
  const replay = ["Idempotency-Replayed", "Preference-Applied"];
  expect(headersOf("post", messages, 200)).toEqual(replay);
  expect(headersOf("post", messages, 202)).toEqual([replay[0], "Location", replay[1]]);
  expect(headersOf("put", "/v1/users/{user}", 202)).toEqual(["Location", "Preference-Applied"]);
  expect(headersOf("get", messages, 200)).toEqual([]);
  expect(headersOf("get", messages, 429)).toEqual(["Retry-After"]);
  expect(headersOf("get", messages, 503)).toEqual(["Retry-After"]);
});

test("the document's page loads nothing from other hosts", async () => {
  const page = await world.as(null)("GET", "/docs");
  expect(page.status).toBe(200);
  expect(page.headers.get("content-security-policy")).toContain("script-src 'self'");
  expect(page.body).not.toMatch(/https?:/);
  for (const asset of ["swagger-ui.css", "swagger-ui-bundle.js", "start.js"]) {
    expect((await world.as(null)("GET", `/docs/${asset}`)).status).toBe(200);
  }
});
