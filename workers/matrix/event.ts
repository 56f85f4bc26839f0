import { z } from "zod";
import { EventType } from "./names.ts";

const plainEvent = z.object({
  event_id: z.string(),
  type: z.string(),
  sender: z.string(),
  origin_server_ts: z.number(),
  state_key: z.string().optional(),
  content: z.record(z.string(), z.unknown()),
  /** What a redaction redacts, in the room versions before 11. */
  redacts: z.string().optional(),
});

/** An event of a room as a homeserver returns it. `content` may lack anything, and may hold anything. */
export const matrixEvent = plainEvent.extend({
  /** What the homeserver adds. `prev_content`: of the state event that this one replaces. `redacted_because`: its redaction. */
  unsigned: z
    .object({
      prev_content: z.record(z.string(), z.unknown()).optional(),
      replaces_state: z.string().optional(),
      redacted_because: plainEvent.optional().catch(undefined),
    })
    .optional()
    .catch(undefined),
});
export type MatrixEvent = z.infer<typeof matrixEvent>;

/** Whether the content of a message was redacted. */
export function isPruned({ content }: MatrixEvent): boolean {
  return Object.keys(content).length === 0;
}

/** The redaction of an event that the homeserver has redacted, where it adds it and its ids may be stored. */
export function readRedaction({ unsigned }: MatrixEvent): MatrixEvent | null {
  const redaction = unsigned?.redacted_because;
  if (redaction?.type !== EventType.RoomRedaction) return null;
  return isStorable(redaction.event_id) && isStorable(redaction.sender) ? redaction : null;
}

/** An event, and the redaction that the homeserver adds to it. */
export function withRedaction(event: MatrixEvent): MatrixEvent[] {
  const redaction = readRedaction(event);
  return redaction === null ? [event] : [event, redaction];
}

/** The id of the event that a redaction redacts; null for any other event. */
export function readRedacted({ type, content, redacts }: MatrixEvent): string | null {
  if (type !== EventType.RoomRedaction) return null;
  const inContent = content["redacts"];
  const target = typeof inContent === "string" ? inContent : redacts;
  return target !== undefined && isStorable(target) ? target : null;
}

/** Any field of an event may be any text: one that Postgres refuses is no id. */
export function isStorable(id: string): boolean {
  return !id.includes("\0") && id.isWellFormed();
}

const relation = z.object({
  rel_type: z.string(),
  event_id: z.string().refine(isStorable),
  key: z.string().optional(),
});
/** What an event is to another one: `type` is its `rel_type`. */
export type Relation = { type: string; eventId: string; key: string | undefined };

/** Null for an event that stands for itself, and for one whose relation is malformed. */
export function readRelation({ content }: MatrixEvent): Relation | null {
  const parsed = relation.safeParse(content["m.relates_to"]);
  if (!parsed.success) return null;
  const { rel_type: type, event_id: eventId, key } = parsed.data;
  return { type, eventId, key };
}

/** The events of a list. One that is malformed is left out, so that the others are still read. */
export function readEvents(events: unknown[]): MatrixEvent[] {
  return events.flatMap((event) => {
    const parsed = matrixEvent.safeParse(event);
    return parsed.success ? [parsed.data] : [];
  });
}
