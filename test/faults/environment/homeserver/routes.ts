import type { RouteCall, RouteResult } from "./route-call.ts";
import { redact, send } from "./send.ts";
import { Refusal, type HomeserverState } from "./state.ts";
import {
  formatPosition,
  listJoined,
  readChanges,
  readFilter,
  readPage,
  readPosition,
  readStream,
} from "./sync.ts";

type Route = {
  method: string;
  path: RegExp;
  answer: (state: HomeserverState, call: RouteCall) => RouteResult;
};

const TIMELINE_LIMIT = 10;
const ROOM = "rooms/([^/]+)";

function route(method: string, path: string, answer: Route["answer"]): Route {
  return { method, path: new RegExp(`^/_matrix/client/v3/${path}$`), answer };
}

/** The calls that the product makes, except /capabilities: new rooms have version 11. Every other call is M_UNRECOGNIZED. */
export const ROUTES: readonly Route[] = [
  { method: "GET", path: /^\/_matrix\/client\/versions$/, answer: () => ({ versions: ["v1.11"] }) },
  route("GET", "account/whoami", (_state, { userId }) => ({ user_id: userId })),
  route("POST", "register", (state, { body }) => ({ user_id: state.register(textOf(body["username"])) })),
  route("PUT", "devices/([^/]+)", (state, { userId }) => {
    state.requireAccount(userId);
    return {};
  }),
  route("PUT", "profile/([^/]+)/displayname", (state, { userId, body }) => {
    state.setDisplayName(userId, textOf(body["displayname"]));
    return {};
  }),
  route("POST", "account/deactivate", () => ({ id_server_unbind_result: "no-support" })),
  route("POST", "createRoom", createRoom),
  route("GET", "directory/room/([^/]+)", (state, { params: [alias = ""] }) => {
    const roomId = state.aliases.get(alias);
    if (roomId === undefined) throw new Refusal(404, "M_NOT_FOUND", `Room alias ${alias} not found`);
    return { room_id: roomId, servers: [state.serverName] };
  }),
  route("DELETE", "directory/room/([^/]+)", (state, { params: [alias = ""] }) => {
    if (!state.aliases.delete(alias)) throw new Refusal(404, "M_NOT_FOUND", `Room alias ${alias} not found`);
    return {};
  }),
  route("POST", `${ROOM}/invite`, invite),
  route("POST", `${ROOM}/join`, join),
  route("POST", `${ROOM}/kick`, (state, { userId, params: [roomId = ""], body }) => {
    const room = state.requireJoined(roomId, userId);
    const target = textOf(body["user_id"]);
    const membership = state.membershipOf(room, target);
    if (membership !== "join" && membership !== "invite")
      throw new Refusal(403, "M_FORBIDDEN", "The target user is not in the room");
    state.setMembership(roomId, { sender: userId, userId: target, membership: "leave" });
    return {};
  }),
  route("POST", `${ROOM}/leave`, (state, { userId, params: [roomId = ""] }) => {
    state.requireJoined(roomId, userId);
    state.setMembership(roomId, { sender: userId, userId, membership: "leave" });
    return {};
  }),
  route(
    "GET",
    `${ROOM}/state/([^/]+)(?:/([^/]*))?`,
    (state, { userId, params: [roomId = "", type = "", key = ""], query }) => {
      const event = state.requireJoined(roomId, userId).state.get(`${type} ${key}`);
      if (!event) throw new Refusal(404, "M_NOT_FOUND", "Event not found.");
      return query.get("format") === "event" ? { ...event } : event.content;
    },
  ),
  route("PUT", `${ROOM}/state/([^/]+)(?:/([^/]*))?`, putState),
  route("GET", `${ROOM}/joined_members`, (state, { userId, params: [roomId = ""] }) => {
    const room = state.requireJoined(roomId, userId);
    const members = [...room.state.values()].filter(
      ({ type, content }) => type === "m.room.member" && content["membership"] === "join",
    );
    return {
      joined: Object.fromEntries(
        members.map((event) => [event.state_key, { display_name: event.content["displayname"] ?? null }]),
      ),
    };
  }),
  route("GET", "joined_rooms", (state, { userId }) => ({ joined_rooms: [...listJoined(state, userId)] })),
  route("GET", `${ROOM}/event/([^/]+)`, (state, { userId, params: [roomId = "", eventId = ""] }) => {
    const event = state.requireJoined(roomId, userId).events.find(({ event_id }) => event_id === eventId);
    if (!event) throw new Refusal(404, "M_NOT_FOUND", "Event not found.");
    return { ...event };
  }),
  route("PUT", `${ROOM}/send/([^/]+)/([^/]+)`, send),
  route("PUT", `${ROOM}/redact/([^/]+)/([^/]+)`, redact),
  route("GET", "sync", sync),
  route("GET", "events", events),
  route("GET", `${ROOM}/messages`, (state, { userId, params: [roomId = ""], query }) => {
    const room = state.requireJoined(roomId, userId);
    const from = query.get("from");
    const to = query.get("to");
    const filter = readFilter(query.get("filter"), TIMELINE_LIMIT);
    return readPage(room.events, {
      from: from === null ? 0 : readPosition(from, "Invalid stream token"),
      to: to === null ? Infinity : readPosition(to, "Invalid stream token"),
      filter: { ...filter, limit: Number(query.get("limit") ?? filter.limit) },
    }) as Record<string, unknown>;
  }),
];

function createRoom(state: HomeserverState, { userId, body }: RouteCall): RouteResult {
  state.requireAccount(userId);
  const alias =
    typeof body["room_alias_name"] === "string" ? `#${body["room_alias_name"]}:${state.serverName}` : null;
  if (alias !== null && state.aliases.has(alias))
    throw new Refusal(400, "M_ROOM_IN_USE", "Room alias already taken");
  const room = state.createRoom(userId);
  if (alias !== null) state.aliases.set(alias, room.id);
  const put = (type: string, content: unknown) =>
    state.append(room.id, {
      type,
      sender: userId,
      stateKey: "",
      content: content as Record<string, unknown>,
    });
  put("m.room.power_levels", body["power_level_content_override"] ?? {});
  if (alias !== null) put("m.room.canonical_alias", { alias });
  put("m.room.join_rules", { join_rule: "invite" });
  for (const { type, content } of (body["initial_state"] ?? []) as { type: string; content: unknown }[])
    put(type, content);
  if (typeof body["name"] === "string") put("m.room.name", { name: body["name"] });
  if (typeof body["topic"] === "string") put("m.room.topic", { topic: body["topic"] });
  return { room_id: room.id };
}

function invite(state: HomeserverState, { userId, params: [roomId = ""], body }: RouteCall): RouteResult {
  const room = state.requireJoined(roomId, userId);
  const target = textOf(body["user_id"]);
  if (state.membershipOf(room, target) === "join")
    throw new Refusal(403, "M_FORBIDDEN", `${target} is already in the room.`);
  state.setMembership(roomId, { sender: userId, userId: target, membership: "invite" });
  return {};
}

function join(state: HomeserverState, { userId, params: [roomId = ""] }: RouteCall): RouteResult {
  state.requireAccount(userId);
  const room = state.rooms.get(roomId);
  const membership = room ? state.membershipOf(room, userId) : "leave";
  if (membership === "leave") throw new Refusal(403, "M_FORBIDDEN", "You are not invited to this room.");
  if (membership === "invite") state.setMembership(roomId, { sender: userId, userId, membership: "join" });
  return { room_id: roomId };
}

/** Setting the same content again makes no second event. */
function putState(
  state: HomeserverState,
  { userId, params: [roomId = "", type = "", key = ""], body }: RouteCall,
): RouteResult {
  const before = state.requireJoined(roomId, userId).state.get(`${type} ${key}`);
  if (before && JSON.stringify(before.content) === JSON.stringify(body)) return { event_id: before.event_id };
  return { event_id: state.append(roomId, { type, sender: userId, stateKey: key, content: body }).event_id };
}

async function sync(
  state: HomeserverState,
  { userId, query, signal }: RouteCall,
): Promise<Record<string, unknown>> {
  const filter = readFilter(query.get("filter"), TIMELINE_LIMIT);
  const sinceText = query.get("since");
  const since = sinceText === null ? 0 : readPosition(sinceText, "Invalid stream token");
  const untilMs = performance.now() + Number(query.get("timeout") ?? 0);
  for (;;) {
    // Synapse answers a future position with the current one and reports no error.
    const position = state.position;
    const rooms =
      since > position || filter.rooms?.length === 0 ? null : readChanges(state, userId, since, filter);
    const leftMs = untilMs - performance.now();
    if (rooms !== null || since > position || leftMs <= 0 || signal.aborted) {
      return { next_batch: formatPosition(position), ...(rooms === null ? {} : { rooms }) };
    }
    await nextEvent(state, leftMs, signal);
  }
}

/** The rooms are those of the moment of the request, as with Synapse. */
async function events(
  state: HomeserverState,
  { userId, query, signal }: RouteCall,
): Promise<Record<string, unknown>> {
  const start = query.get("from") ?? formatPosition(state.position);
  const from = readPosition(start, "'from' parameter is invalid");
  const rooms = listJoined(state, userId);
  const limit = Number(query.get("limit") ?? TIMELINE_LIMIT);
  const untilMs = performance.now() + Number(query.get("timeout") ?? 0);
  for (;;) {
    const { position } = state;
    const page = readStream(state, userId, { from, rooms, limit });
    if (page !== null) return { chunk: page.chunk, start, end: formatPosition(page.end) };
    const leftMs = untilMs - performance.now();
    if (leftMs <= 0 || signal.aborted) return { chunk: [], start, end: formatPosition(position) };
    await nextEvent(state, leftMs, signal);
  }
}

function nextEvent(state: HomeserverState, limitMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stopListening();
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const stopListening = state.onEvent(done);
    const timer = setTimeout(done, limitMs);
    signal.addEventListener("abort", done);
  });
}

function textOf(value: unknown): string {
  if (typeof value !== "string") throw new Refusal(400, "M_BAD_JSON", "a text is missing");
  return value;
}
