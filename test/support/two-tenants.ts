import { createRoutes, type RouteDeps } from "../../api/routes/index.ts";
import type { Route } from "../../api/http/route.ts";

/** What a call names: something of the other tenant, or something that nobody has. */
export type Names = { room: string; user: string; message: string };

/** One call, made by the backend or by a person of the one tenant, with both kinds of names. */
export type Probe = {
  what: string;
  as: Route["access"];
  method: string;
  path: (names: Names) => string;
  body: (names: Names) => unknown;
  headers?: (names: Names) => Record<string, string>;
};

/** Of the room and the people that both tenants have. */
const SHARED_ROOM = "/v1/rooms/group/chess";
const NO_BODY = () => undefined;

/** Every route with names in its path: each parameter alone is another's, the others are one's own. */
export function routeProbes(): Probe[] {
  return createRoutes({} as RouteDeps).flatMap(({ access, shape }) =>
    variantsOf(shape.path).map((path): Probe => ({
      what: `${shape.method} ${shape.path} as ${access} with ${describe(path)}`,
      as: access,
      method: shape.method.toUpperCase(),
      path,
      body: () => shape.body?.example,
    })),
  );
}

const OWN: Names = { room: "chess", user: "ada", message: "" };
const PARAMETERS = { "{slug}": "room", "{user}": "user", "{message}": "message" } as const;

function variantsOf(path: string): ((names: Names) => string)[] {
  const parameters = Object.entries(PARAMETERS).filter(([parameter]) => path.includes(parameter));
  return parameters.map(([, asked]) => (names) => {
    const given = { ...OWN, message: names.message, [asked]: names[asked] };
    const filled = parameters.reduce(
      (text, [parameter, name]) => text.replace(parameter, encodeURIComponent(given[name])),
      path,
    );
    return filled.replace("{kind}", "group").replace("{key}", "%2B");
  });
}

function describe(path: (names: Names) => string): string {
  return path({ room: "its room", user: "its user", message: "its message" }).replaceAll("%20", " ");
}

/** Calls that name people and messages elsewhere. */
export const OTHER_PROBES: readonly Probe[] = [
  {
    what: "a direct room with a person of theirs, by the backend",
    ...{ as: "server", method: "PUT", path: () => "/v1/rooms/direct" },
    body: ({ user }) => ({ users: ["ada", user] }),
  },
  {
    what: "a direct room with a person of theirs",
    ...{ as: "user", method: "PUT", path: () => "/v1/rooms/direct" },
    body: ({ user }) => ({ user }),
  },
  {
    what: "a message that answers one of theirs",
    ...{ as: "user", method: "POST", path: () => `${SHARED_ROOM}/messages` },
    body: ({ message }) => ({ text: "an answer", replyTo: message }),
  },
  {
    what: "a message that mentions a person of theirs",
    ...{ as: "user", method: "POST", path: () => `${SHARED_ROOM}/messages` },
    body: ({ user }) => ({ text: "a mention", mentions: { users: [user] } }),
  },
  {
    what: "a person of theirs as a member",
    ...{ as: "server", method: "POST", path: () => `${SHARED_ROOM}/members` },
    body: ({ user }) => ({ members: [{ user }] }),
  },
  {
    what: "the backend in the name of a person of theirs",
    ...{ as: "server", method: "GET", path: () => "/v1/me/rooms" },
    body: NO_BODY,
    headers: ({ user }) => ({ "act-as": user }),
  },
  {
    what: "a search for a room of theirs",
    ...{ as: "user", method: "GET", path: ({ room }) => `/v1/rooms?visibility=public&q=${room}` },
    body: NO_BODY,
  },
];

/** Calls without a name in them, and those that are about what both tenants have: `own` is all that may be in the answers. */
export function ownCalls(): Omit<Probe, "what" | "headers">[] {
  return createRoutes({} as RouteDeps)
    .filter(({ shape }) => !shape.path.includes("{message}") && !shape.path.includes("{key}"))
    .filter(({ shape }) => shape.method === "get")
    .map(({ access, shape }) => ({
      ...{ as: access, method: "GET", body: NO_BODY },
      path: () =>
        `${shape.path.replace("{kind}", "group").replace("{slug}", "chess").replace("{user}", "ada")}${access === "user" && shape.path === "/v1/rooms" ? "?visibility=public" : ""}`,
    }));
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const TIME = /\d{4}-\d\d-\d\dT[\d:.]+Z/g;
const TOKEN = /eyJ[\w-]+\.[\w-]+\.[\w-]+/g;
const EPOCH = /"epoch":"[^"]*"/g;
/** How far Matrix is with what was asked. */
const PROGRESS = /"status":"(?:pending|ready|queued|sending|sent)"|"sentUpTo":\d+/g;

/** An answer without what differs between any two: names, ids, times, and how far Matrix is. */
export function withoutNames(text: string, { room, user, message }: Names): string {
  return text
    .replaceAll(message, "MESSAGE")
    .replaceAll(room, "ROOM")
    .replaceAll(user, "USER")
    .replace(EPOCH, '"epoch":""')
    .replace(PROGRESS, '"progress":""')
    .replace(TOKEN, "TOKEN")
    .replace(TIME, "TIME")
    .replace(UUID, "ID");
}
