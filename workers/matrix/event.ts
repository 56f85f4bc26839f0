import { z } from "zod";
import { EventType } from "./names.ts";

/** An event of a room as a homeserver returns it. `content` may lack anything, and may hold anything. */
export const matrixEvent = z.object({
  event_id: z.string(),
  type: z.string(),
  sender: z.string(),
  origin_server_ts: z.number(),
  state_key: z.string().optional(),
  content: z.record(z.string(), z.unknown()),
  /** What a redaction redacts, in the room versions before 11. */
  redacts: z.string().optional(),
  /** What the homeserver adds. `prev_content`: of the state event that this one replaces. */
  unsigned: z
    .object({
      prev_content: z.record(z.string(), z.unknown()).optional(),
      replaces_state: z.string().optional(),
    })
    .optional()
    .catch(undefined),
});
export type MatrixEvent = z.infer<typeof matrixEvent>;

/** Whether the content of a message was redacted. */
export function isPruned({ content }: MatrixEvent): boolean {
  return Object.keys(content).length === 0;
}

/** The id of the event that a redaction redacts; null for any other event. */
export function readRedacted({ type, content, redacts }: MatrixEvent): string | null {
  if (type !== EventType.RoomRedaction) return null;
  const target = content["redacts"];
  return typeof target === "string" ? target : (redacts ?? null);
}

/** The events of a list. One that is malformed is left out, so that the others are still read. */
export function readEvents(events: unknown[]): MatrixEvent[] {
  return events.flatMap((event) => {
    const parsed = matrixEvent.safeParse(event);
    return parsed.success ? [parsed.data] : [];
  });
}
