import type { z } from "zod";
import type { ErrorCode } from "../../shared/contract/errors.ts";
import type { Caller, KeyCaller, UserCaller } from "../auth/authenticate.ts";
import type { RoomLimit } from "../rate-limit/rate-limits.ts";

/** A request as a handler sees it, without Express. */
export type Call<C extends Caller, Body, Query> = {
  caller: C;
  params: Readonly<Record<string, string>>;
  body: Body;
  query: Query;
  /** The query as it was sent, with its question mark; empty where there is none. */
  search: string;
  requestId: string;
  header: (name: string) => string | undefined;
  /** Reads until `isFinal`, for as long as the caller prefers to wait (`Prefer: wait=N`). Returns `first` without that. */
  settle: <T>(first: T, read: () => Promise<T>, isFinal: (value: T) => boolean) => Promise<T>;
};

/** `about`: ids for the request's line in the log. */
export type Answer = {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
  about?: Record<string, string>;
};

/** The description of a route, for the server that checks requests with it and for the OpenAPI document. */
export type RouteShape<Body, Query> = {
  method: "get" | "put" | "post" | "patch" | "delete";
  /** Parameters in braces: `/v1/users/{user}`. */
  path: string;
  summary: string;
  description?: string;
  tag: string;
  /** The schema of an optional body reads an absent one too: as undefined, or with `prefault` as an empty object. */
  body?: {
    schema: z.ZodType<Body>;
    isOptional?: boolean;
    types?: readonly string[];
    /** `MAX_BODY_BYTES` where it is absent. */
    maxBytes?: number;
    example: unknown;
  };
  query?: z.ZodType<Query>;
  /** Bodies of successful answers, by status; without a schema there is none. */
  answers: Readonly<Record<number, { schema?: z.ZodType; description: string }>>;
  problems: readonly ErrorCode[];
  headers?: readonly string[];
  /** Its calls are counted per person and room, and not among the person's other requests. */
  limit?: RoomLimit;
};

export type Access = "server" | "user";

export type Route = {
  access: Access;
  shape: RouteShape<unknown, unknown>;
  handle: (call: Call<Caller, unknown, unknown>) => Promise<Answer>;
};

/** Routes of one method and path: one for a product's backend, one for a person, or both. */
export type CallRoutes = { method: Route["shape"]["method"]; path: string; routes: readonly Route[] };

/** Routes by method and path, in their order. */
export function groupRoutes(routes: readonly Route[]): CallRoutes[] {
  const calls = new Map<string, Route[]>();
  for (const route of routes) {
    const name = `${route.shape.method} ${route.shape.path}`;
    calls.set(name, [...(calls.get(name) ?? []), route]);
  }
  return [...calls.values()].flatMap((group) => {
    const [first] = group;
    return first ? [{ method: first.shape.method, path: first.shape.path, routes: group }] : [];
  });
}

/** A route for a product's backend. Body and query are parsed by the shape's schemas. */
export function serverRoute<Body = undefined, Query = undefined>(
  shape: RouteShape<Body, Query>,
  handle: (call: Call<KeyCaller, Body, Query>) => Promise<Answer>,
): Route {
  return { access: "server", shape, handle: handle as Route["handle"] };
}

/** A route for a person. */
export function userRoute<Body = undefined, Query = undefined>(
  shape: RouteShape<Body, Query>,
  handle: (call: Call<UserCaller, Body, Query>) => Promise<Answer>,
): Route {
  return { access: "user", shape, handle: handle as Route["handle"] };
}

/** The media types of a merge patch (RFC 7396). */
export const MERGE_PATCH = ["application/merge-patch+json", "application/json"] as const;

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The fields that a merge patch names. An absent field stays as it is; null clears it. */
export function namedFields<T extends object>(body: T): Given<T> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined)) as Given<T>;
}

/** 200 when the resource is final, else 202 with the address to read it again. */
export function answerResource(
  body: unknown,
  { isFinal, location }: { isFinal: boolean; location: string },
): Answer {
  return isFinal ? { status: 200, body } : { status: 202, body, headers: { Location: location } };
}
