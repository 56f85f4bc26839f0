import { z } from "zod";
import {
  createDocument,
  createSchema,
  type oas31,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiRequestBodyObject,
  type ZodOpenApiResponsesObject,
} from "zod-openapi";
import type { ErrorCode } from "../../shared/contract/errors.ts";
import { anySlug, roomKind, userName } from "../../shared/contract/names.ts";
import { publication } from "../../shared/contract/frames.ts";
import { PROBLEMS } from "./problem.ts";
import { groupRoutes, type Access, type CallRoutes, type Route } from "./route.ts";

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

/** Problems that every call can return: an unknown query parameter and an unexpected body are refused too. */
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

/** Adds a parameter's description and example to its schema. */
const parameter = <T extends z.ZodType>(schema: T, description: string, example: string): T =>
  schema.meta({ param: { description, example } });

const PATH_PARAMETERS: Record<string, z.ZodType> = {
  user: parameter(userName, "The product's own id of the user. Its case counts.", "ada"),
  kind: parameter(roomKind, "Kind of room", "event"),
  slug: parameter(
    anySlug,
    "Slug of the room. An event's or a group's: one that matches ^[a-z0-9][a-z0-9._:@-]{0,63}$. A direct room's: the ids of " +
      "its two users, different, sorted by bytes and joined by ~. Another one is refused with 422 where a room would be made, " +
      "and with 404 elsewhere.",
    "py-meetup",
  ),
  id: parameter(z.uuid(), "Id of the message", "01a20674-1cd1-7305-9bc7-0e60f67e492b"),
  key: parameter(z.string().min(1).max(64), "An emoji, or a text of 1 to 64 bytes in UTF-8", "👍"),
};

const HEADER_PARAMETERS: Record<string, z.ZodType> = {
  Prefer: parameter(
    z.string().optional(),
    "wait=N delays the answer until the status is final (sent or dead; ready or failed), for N seconds at most (up to 30). " +
      "The answer is 200 if the status is final by then, else 202. A message that is sent may still have no number: that " +
      "comes when it is in the timeline. Few requests of a tenant wait at once: without the header Preference-Applied the " +
      "answer did not wait. Any other preference is ignored (RFC 7240).",
    "wait=10",
  ),
  "Idempotency-Key": parameter(
    z
      .string()
      .regex(/^[\x21-\x7e]{1,128}$/)
      .optional(),
    "The same as clientId in the body. 422 if both are given and differ.",
    "c-17",
  ),
};

const RETRY_AFTER: oas31.HeadersObject = {
  "Retry-After": { description: "Seconds until a new try makes sense", schema: { type: "integer" } },
};

const MOVED: oas31.ResponseObject = {
  description:
    "The room was renamed, and the caller may read it: Location is the same call at its present slug",
};

/** Headers of an answer, by the request's header that causes them. */
const ANSWER_HEADERS: Record<string, oas31.HeadersObject> = {
  Prefer: {
    "Preference-Applied": {
      description: "wait=N: the answer waited as preferred, or had no need to. Absent: it did not wait",
      schema: { type: "string" },
    },
  },
  "Idempotency-Key": {
    "Idempotency-Replayed": {
      description: "true: an earlier request with this key made the message",
      schema: { type: "string", enum: ["true"] },
    },
  },
};

/** The OpenAPI 3.1 document of the routes, made of the schemas that check their requests. */
export function createOpenApi(routes: readonly Route[], version: string): oas31.OpenAPIObject {
  const paths: ZodOpenApiPathsObject = {};
  for (const call of groupRoutes(routes)) {
    const path = (paths[call.path] ??= {});
    path[call.method] = describeCall(call);
  }
  return createDocument({
    openapi: "3.1.0",
    info: {
      title: "OpenMeet Chat",
      version,
      description:
        "Chat rooms for the events, groups and people of a product. Times are RFC 3339 in UTC. A write returns 202 while " +
        "Matrix does not have the change yet, and 200 when it has. A socket receives publications, see the schema " +
        "Publication. docs/client.md of the source describes how a client uses the API and the socket together.",
    },
    servers: [{ url: "/" }],
    tags: ["users", "rooms", "members", "messages", "signs", "me", "events"].map((name) => ({ name })),
    paths: { ...paths, ...processPaths() },
    components: { schemas: { Publication: describePublication() }, securitySchemes: SECURITY_SCHEMES },
  });
}

/** As clients receive it. A zod schema here would also be described as an input, and the answers' schemas renamed. */
function describePublication(): oas31.SchemaObject | oas31.ReferenceObject {
  return createSchema(publication, { io: "output" }).schema;
}

const SECURITY_SCHEMES: Record<string, oas31.SecuritySchemeObject> = {
  serverKey: { type: "http", scheme: "bearer", description: "A server key of the tenant: omc_server_…" },
  userToken: { type: "http", scheme: "bearer", bearerFormat: "JWT", description: "A token of one user" },
  actAs: {
    type: "apiKey",
    in: "header",
    name: "Act-As",
    description:
      "With a server key: the id of the user as whom the product's backend calls, with that user's rights and the key's " +
      "limits. The user must exist: 404. With any other credential 403, and 422 with a call that is not for users.",
  },
};

const SECURITY: Record<Access, oas31.SecurityRequirementObject[]> = {
  server: [{ serverKey: [] }],
  user: [{ userToken: [] }, { serverKey: [], actAs: [] }],
};

const WITH: Record<Access, string> = { server: "With a server key:", user: "With a user token:" };

function describeCall({ method, path, routes }: CallRoutes): ZodOpenApiOperationObject {
  const shapes = routes.map(({ shape }) => shape);
  const names = [...path.matchAll(/\{(\w+)\}/g)].flatMap(([, name]) => name ?? []);
  const headers = [...new Set(shapes.flatMap((shape) => shape.headers ?? []))];
  const bodies = shapes.flatMap(({ body }) => (body ? [body] : []));
  const codes = new Set([
    ...COMMON,
    ...shapes.flatMap(({ problems }) => problems),
    // The user as whom a server key calls.
    ...(routes.some(({ access }) => access === "user") ? (["not_found"] as const) : []),
    // A body that is not JSON, or a path with a broken escape.
    ...(bodies.length > 0 || names.length > 0 ? (["malformed"] as const) : []),
  ]);
  return {
    operationId: `${method}${path.replace(/^\/v1/, "").replace(/[/{}]+(\w?)/g, (_all, letter: string) => letter.toUpperCase())}`,
    summary: shapes.map(({ summary }) => summary).join("; "),
    ...describeText(routes),
    tags: [...new Set(shapes.map(({ tag }) => tag))],
    security: routes.flatMap(({ access }) => SECURITY[access]),
    requestParams: { path: pick(PATH_PARAMETERS, names), header: pick(HEADER_PARAMETERS, headers) },
    parameters: describeQueries(shapes.flatMap(({ query }) => query ?? [])),
    ...(bodies.length > 0 ? { requestBody: describeBody(bodies) } : {}),
    responses: {
      ...describeAnswers(shapes, headers),
      ...(path.includes("/{kind}/{slug}") ? { 308: MOVED } : {}),
      ...describeProblems([...codes]),
    },
  };
}

/** What a call does; where two routes share it, what it does with each credential. */
function describeText(routes: readonly Route[]): { description?: string } {
  const texts = routes.flatMap(({ access, shape: { summary, description } }) =>
    routes.length > 1
      ? [`${WITH[access]} ${description ?? `${summary}.`}`]
      : description === undefined
        ? []
        : [description],
  );
  return texts.length === 0 ? {} : { description: texts.join(" ") };
}

function pick(schemas: Record<string, z.ZodType>, names: readonly string[]): z.ZodObject {
  return z.object(Object.fromEntries(names.map((name) => [name, schemas[name] ?? z.string()])));
}

/** A query's schema reads text. The document describes the value behind the text, which is the schema's output. */
function describeQueries(queries: readonly z.ZodType[]): oas31.ParameterObject[] {
  const described = queries.flatMap((query) => {
    const { schema } = createSchema(query, { io: "output" });
    return Object.entries("properties" in schema ? (schema.properties ?? {}) : {});
  });
  // A parameter of both routes is described once.
  return Object.entries(Object.fromEntries(described.reverse()))
    .reverse()
    .map(([name, schema]) => ({
      name,
      in: "query",
      ...("description" in schema ? { description: schema.description ?? "" } : {}),
      schema,
    }));
}

type Body = NonNullable<Route["shape"]["body"]>;

function describeBody(bodies: readonly Body[]): ZodOpenApiRequestBodyObject {
  const schema = anyOf(bodies.map((body) => body.schema));
  const types = new Set(bodies.flatMap((body) => body.types ?? ["application/json"]));
  return {
    required: bodies.every(({ isOptional }) => isOptional !== true),
    content: Object.fromEntries([...types].map((type) => [type, { schema, example: bodies[0]?.example }])),
  };
}

function describeAnswers(
  shapes: readonly Route["shape"][],
  asked: readonly string[],
): ZodOpenApiResponsesObject {
  const answering = Object.assign({}, ...asked.map((name) => ANSWER_HEADERS[name])) as oas31.HeadersObject;
  const location: oas31.HeadersObject = {
    Location: { description: "Where to read the resource again", schema: { type: "string" } },
  };
  const statuses = [...new Set(shapes.flatMap(({ answers }) => Object.keys(answers)))];
  return Object.fromEntries(
    statuses.map((status) => {
      const answers = shapes.flatMap((shape) => shape.answers[Number(status)] ?? []);
      const schemas = answers.flatMap(({ schema }) => schema ?? []);
      return [
        status,
        {
          description: [...new Set(answers.map(({ description }) => description))].join("; "),
          headers: { ...(status === "202" ? location : {}), ...answering },
          ...(schemas.length === 0 ? {} : { content: { "application/json": { schema: anyOf(schemas) } } }),
        },
      ];
    }),
  );
}

/** One schema for values of any of these. */
function anyOf(schemas: readonly z.ZodType[]): z.ZodType {
  const [first, ...others] = [...new Set(schemas)];
  if (!first) throw new Error("there is no schema");
  return others.length === 0 ? first : z.union([first, ...others]);
}

/** One answer per status, with the codes that it can carry. */
function describeProblems(codes: readonly ErrorCode[]): ZodOpenApiResponsesObject {
  return Object.fromEntries(
    [...groupByStatus(codes)].map(([status, list]) => [
      String(status),
      {
        description: list.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`).join("; "),
        ...(status === 429 || status === 503 ? { headers: RETRY_AFTER } : {}),
        content: { "application/problem+json": { schema: problem } },
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

function processPaths(): ZodOpenApiPathsObject {
  const page = (operationId: string, summary: string, type: string): ZodOpenApiOperationObject => ({
    operationId,
    summary,
    security: [],
    responses: { 200: { description: "It is", content: { [type]: { schema: {} } } } },
  });
  const ready = page("whetherItCanServe", "Whether the process can serve", "application/json");
  const notReady = {
    description: "Postgres does not answer",
    content: { "application/json": { schema: {} } },
  };
  return {
    "/livez": { get: page("whetherTheProcessLives", "Whether the process lives", "application/json") },
    "/readyz": { get: { ...ready, responses: { ...ready.responses, 503: notReady } } },
    "/metrics": { get: page("figuresForPrometheus", "Metrics for Prometheus", "text/plain") },
  };
}
