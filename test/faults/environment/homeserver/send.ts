import type { RouteCall, RouteResult } from "./route-call.ts";
import { Refusal, type HomeserverState, type Room, type StoredEvent } from "./state.ts";

export function send(state: HomeserverState, call: RouteCall): RouteResult {
  const {
    userId,
    params: [roomId = "", type = "", transactionId = ""],
    body,
  } = call;
  const room = state.requireJoined(roomId, userId);
  const key = transactionKey(call, `send ${roomId} ${type} ${transactionId}`);
  const make = () => {
    checkRelation(room, { type, sender: userId, content: body });
    return state.append(roomId, { type, sender: userId, content: body });
  };
  return { event_id: state.appendOnce(key, { roomId, transactionId, sender: userId }, make) };
}

type Relation = { rel_type?: unknown; event_id?: unknown; key?: unknown };
type Related = Pick<StoredEvent, "type" | "sender" | "content">;

function relationOf({ content }: Related): Relation {
  return content["m.relates_to"] ?? {};
}

/** @throws Refusal as Synapse does */
function checkRelation(room: Room, event: Related): void {
  const { rel_type: type, event_id: eventId, key } = relationOf(event);
  if (type === undefined) return;
  if (!room.events.some(({ event_id }) => event_id === eventId))
    throw new Refusal(400, "M_UNKNOWN", "Can't send relation to unknown event");
  if (type !== "m.annotation") return;
  const isSame = (other: Related) => {
    const relation = relationOf(other);
    const isAbout = relation.event_id === eventId && relation.key === key;
    return other.type === event.type && other.sender === event.sender && isAbout;
  };
  if (room.events.some(isSame))
    throw new Refusal(400, "M_DUPLICATE_ANNOTATION", "Can't send same reaction twice");
}

export function redact(state: HomeserverState, call: RouteCall): RouteResult {
  const {
    userId,
    params: [roomId = "", eventId = "", transactionId = ""],
    body,
  } = call;
  const room = state.requireJoined(roomId, userId);
  const key = transactionKey(call, `redact ${roomId} ${eventId} ${transactionId}`);
  const make = () => {
    const target = room.events.find(({ event_id }) => event_id === eventId);
    if (!target) throw new Refusal(404, "M_NOT_FOUND", "Could not find event");
    if (target.sender !== userId && levelOf(room, userId) < REDACT_LEVEL)
      throw new Refusal(403, "M_FORBIDDEN", "You do not have permission to redact events of others");
    const content = { ...body, redacts: eventId };
    const event = { type: "m.room.redaction", sender: userId, content, redacts: eventId };
    const redaction = state.append(roomId, event);
    prune(target, redaction);
    return redaction;
  };
  return { event_id: state.appendOnce(key, { roomId, transactionId, sender: userId }, make) };
}

const REDACT_LEVEL = 50;

function levelOf(room: Room, userId: string): number {
  const levels = room.state.get("m.room.power_levels ")?.content["users"];
  // A map without users is one that the creator did not give.
  if (levels === undefined) return room.state.get("m.room.create ")?.sender === userId ? 100 : 0;
  return (levels as Record<string, number>)[userId] ?? 0;
}

/** What a redaction leaves of the content of an event; nothing of other types. */
const KEPT: Record<string, readonly string[]> = {
  "m.room.member": ["membership"],
  "m.room.join_rules": ["join_rule"],
  "m.room.redaction": ["redacts"],
};

function prune(event: StoredEvent, redaction: StoredEvent): void {
  if (event.type === "m.room.create" || event.type === "m.room.power_levels") return;
  const kept = KEPT[event.type] ?? [];
  event.content = Object.fromEntries(Object.entries(event.content).filter(([name]) => kept.includes(name)));
  event.unsigned = { redacted_because: { ...redaction } };
}

/** Without a device, only the path distinguishes the transactions of an Application Service. */
function transactionKey({ userId, deviceId }: RouteCall, path: string): string {
  return deviceId === null ? `service ${path}` : `device ${userId} ${deviceId} ${path}`;
}
