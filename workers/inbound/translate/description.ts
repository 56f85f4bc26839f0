import { roomName, roomTopic } from "../../../shared/contract/room-fields.ts";
import type { MatrixEvent } from "../../matrix/event.ts";
import { EventType } from "../../matrix/names.ts";
import { readTime } from "./sender.ts";
import type { EventContext, Translation } from "./translation.ts";
import { translateConfiguration } from "./configuration.ts";

/** The name or the topic that a person gave the room. What no room may be called is put back, and so is what others change. */
export function translateDescription(roomId: string, event: MatrixEvent, context: EventContext): Translation {
  const drift = translateConfiguration(roomId, event, context);
  const actorId = context.userIds.get(event.sender);
  if (drift.kind !== "configuration-drift" || actorId === undefined) return drift;
  const fields = readFields(event);
  const at = readTime(event.origin_server_ts).toISOString();
  return fields === null ? drift : { kind: "description", change: { roomId, actorId, ...fields, at } };
}

/** Null for a text that no room has. A topic that is empty is none. */
function readFields({
  type,
  content,
}: MatrixEvent): { field: "name" | "topic"; value: string | null } | null {
  if (type === EventType.RoomName) {
    const { success, data } = roomName.safeParse(content["name"]);
    return success ? { field: "name", value: data } : null;
  }
  const topic = content["topic"];
  if (topic === "") return { field: "topic", value: null };
  const { success, data } = roomTopic.safeParse(topic);
  return success ? { field: "topic", value: data } : null;
}
