import { z } from "zod";
import type { ErrorCode } from "../../shared/contract/errors.ts";
import { roomKind, roomSlug, userName } from "../../shared/contract/names.ts";
import { publication } from "../../shared/contract/frames.ts";
import { PROBLEMS } from "./problem.ts";
import type { Route } from "./route.ts";

type Json = Record<string, unknown>;

const problem = z
  .strictObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.enum(Object.keys(PROBLEMS) as [ErrorCode, ...ErrorCode[]]),
    detail: z.string(),
    requestId: z.string(),
    errors: z.array(z.strictObject({ path: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: "Problem" });

/**
 * What every call may answer, beside the problems of its own: a query that is not known, and a body where none is read,
 * are refused too.
 */
const COMMON: readonly ErrorCode[] = [
  "unauthorized",
  "rate_limited",
  "token_expired",
  "forbidden",
  "wrong_credential",
  "too_large",
  "unsupported_media_type",
  "invalid",
  "internal",
  "unavailable",
];

const PATH_PARAMETERS: Record<string, { schema: z.ZodType; description: string; example: string }> = {
  user: { schema: userName, description: "The product's own id of the user", example: "ada" },
  kind: { schema: roomKind, description: "Kind of room", example: "event" },
  slug: {
    schema: z.union([roomSlug, z.string()]),
    description: "Slug of the room; of a direct room a~b",
    example: "py-meetup",
  },
  id: { schema: z.uuid(), description: "Id of the message", example: "01a20674-1cd1-7305-9bc7-0e60f67e492b" },
};

const HEADER_PARAMETERS: Record<string, { description: string; example: string; schema: Json }> = {
  Prefer: {
    description: "wait=N holds the answer until the status is final, N (at most 30) seconds at most",
    example: "wait=10",
    schema: { type: "string" },
  },
  "Idempotency-Key": {
    description: "The same as clientId in the body",
    example: "c-17",
    schema: { type: "string", pattern: "^[\\x21-\\x7e]{1,128}$" },
  },
};

const RETRY_AFTER = {
  "Retry-After": { description: "Seconds after which to try again", schema: { type: "integer" } },
};
/** What answers to a header of the request. */
const ANSWER_HEADERS: Record<string, Json> = {
  Prefer: {
    "Preference-Applied": {
      description: "The wait that was kept, where one was preferred: wait=N",
      schema: { type: "string" },
    },
  },
  "Idempotency-Key": {
    "Idempotency-Replayed": {
      description: "true: the message is the one that the key was used for before",
      schema: { type: "string", enum: ["true"] },
    },
  },
};

/** The OpenAPI 3.1 document of the calls, from the schemas that check them. */
export function createOpenApi(routes: readonly Route[], version: string): Json {
  const components: Record<string, unknown> = {};
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = (paths[route.shape.path] ??= {});
    path[route.shape.method] = describeRoute(route, components);
  }
  describeSchema(problem, "output", components);
  describeSchema(publication.meta({ id: "Publication" }), "output", components);
  return {
    openapi: "3.1.0",
    info: {
      title: "OpenMeet Chat",
      version,
      description:
        "Chat rooms for the events, groups and people of a product. Times are RFC 3339 in UTC. A write answers 202 while " +
        "its effect is on the way and 200 when it is done. What a socket tells is the schema Publication; docs/client.md of " +
        "the source says how a client uses both.",
    },
    servers: [{ url: "/" }],
    tags: ["users", "rooms", "members", "messages", "me"].map((name) => ({ name })),
    paths: { ...paths, ...processPaths() },
    components: { schemas: components, securitySchemes: SECURITY_SCHEMES },
  };
}

const SECURITY_SCHEMES = {
  serverKey: { type: "http", scheme: "bearer", description: "A server key of the tenant: omc_server_…" },
  userToken: { type: "http", scheme: "bearer", bearerFormat: "JWT", description: "A token of one user" },
};

function describeRoute({ shape, access }: Route, components: Json): Json {
  const { body, problems } = shape;
  const codes = new Set([
    ...COMMON,
    ...problems,
    // A body that is no JSON, or a path with a broken escape.
    ...(body || shape.path.includes("{") ? (["malformed"] as const) : []),
  ]);
  return {
    operationId: `${shape.method}${shape.path.replace(/^\/v1/, "").replace(/[/{}]+(\w?)/g, (_all, letter: string) => letter.toUpperCase())}`,
    summary: shape.summary,
    ...(shape.description === undefined ? {} : { description: shape.description }),
    tags: [shape.tag],
    security: [access === "server" ? { serverKey: [] } : { userToken: [] }],
    parameters: describeParameters(shape, components),
    ...(body ? { requestBody: describeBody(body, components) } : {}),
    responses: { ...describeAnswers(shape, components), ...describeProblems([...codes]) },
  };
}

function describeParameters(shape: Route["shape"], components: Json): Json[] {
  const names = [...shape.path.matchAll(/\{(\w+)\}/g)].flatMap(([, name]) => name ?? []);
  const inPath = names.map((name) => {
    const { schema, ...rest } = PATH_PARAMETERS[name] ?? { schema: z.string() };
    return { name, in: "path", required: true, schema: describeSchema(schema, "input", components), ...rest };
  });
  const inHeader = (shape.headers ?? []).map((name) => ({
    name,
    in: "header",
    required: false,
    ...HEADER_PARAMETERS[name],
  }));
  return [...inPath, ...describeQuery(shape.query, components), ...inHeader];
}

function describeQuery(query: z.ZodType | undefined, components: Json): Json[] {
  if (!query) return [];
  const { properties } = z
    .object({ properties: z.record(z.string(), z.unknown()) })
    .parse(describeSchema(query, "output", components));
  return Object.entries(properties).map(([name, schema]) => ({ name, in: "query", required: false, schema }));
}

function describeBody(body: NonNullable<Route["shape"]["body"]>, components: Json): Json {
  const media = { schema: describeSchema(body.schema, "input", components), example: body.example };
  const types = body.types ?? ["application/json"];
  return {
    required: body.isOptional !== true,
    content: Object.fromEntries(types.map((type) => [type, media])),
  };
}

function describeAnswers({ answers, headers: asked = [] }: Route["shape"], components: Json): Json {
  const answering = Object.assign({}, ...asked.map((name) => ANSWER_HEADERS[name])) as Json;
  const location = { Location: { description: "Where to ask again", schema: { type: "string" } } };
  return Object.fromEntries(
    Object.entries(answers).map(([status, { schema, description }]) => [
      status,
      {
        description,
        headers: { ...(status === "202" ? location : {}), ...answering },
        content: { "application/json": { schema: describeSchema(schema, "output", components) } },
      },
    ]),
  );
}

/** One answer per status, naming the codes that come with it. */
function describeProblems(codes: readonly ErrorCode[]): Json {
  const byStatus = groupByStatus(codes);
  return Object.fromEntries(
    [...byStatus].map(([status, list]) => [
      String(status),
      {
        description: list.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`).join("; "),
        ...(status === 429 || status === 503 ? { headers: RETRY_AFTER } : {}),
        content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
      },
    ]),
  );
}

function groupByStatus(codes: readonly ErrorCode[]): Map<number, ErrorCode[]> {
  const groups = new Map<number, ErrorCode[]>();
  for (const code of codes) {
    const { status } = PROBLEMS[code];
    groups.set(status, [...(groups.get(status) ?? []), code]);
  }
  return groups;
}

/** A schema as JSON Schema; named ones go to the components. */
function describeSchema(schema: z.ZodType, io: "input" | "output", components: Json): Json {
  const { $schema: _, $defs, ...described } = rewriteRefs(z.toJSONSchema(schema, { io }));
  Object.assign(components, $defs);
  return described;
}

const jsonObject = z.record(z.string(), z.unknown());

function rewriteRefs(schema: unknown): Json {
  const text = JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/');
  return jsonObject.parse(JSON.parse(text));
}

function processPaths(): Json {
  const page = (summary: string, type: string, isReadiness: boolean): Json => ({
    get: {
      summary,
      operationId: summary
        .toLowerCase()
        .replace(/[^a-z]+(\w)/g, (_all, letter: string) => letter.toUpperCase()),
      security: [],
      responses: {
        200: { description: "It is", content: { [type]: { schema: {} } } },
        ...(isReadiness
          ? { 503: { description: "Postgres does not answer", content: { [type]: { schema: {} } } } }
          : {}),
      },
    },
  });
  return {
    "/livez": page("Whether the process lives", "application/json", false),
    "/readyz": page("Whether it can serve", "application/json", true),
    "/metrics": page("RealtimeMetrics for Prometheus", "text/plain", false),
  };
}
