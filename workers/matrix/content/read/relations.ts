import { z } from "zod";
import { isStorable, type MatrixEvent } from "../../event.ts";

const relations = z.object({
  rel_type: z.string().optional(),
  event_id: z.string().optional(),
  is_falling_back: z.boolean().optional().catch(undefined),
  "m.in_reply_to": z.object({ event_id: z.string() }).optional().catch(undefined),
});

type Relations = { targetEventId: string | null; threadEventId: string | null };

/**
 * What an event answers. A message of a thread answers what it says, or the thread's first message: what a client names for
 * others that know no threads is the last message of the thread, no matter which one is answered.
 */
export function readRelations({ content }: MatrixEvent): Relations {
  const parsed = relations.safeParse(content["m.relates_to"]);
  if (!parsed.success) return { targetEventId: null, threadEventId: null };
  const {
    rel_type: type,
    event_id: eventId,
    is_falling_back: isFallback,
    "m.in_reply_to": reply,
  } = parsed.data;
  const answered = storable(reply?.event_id);
  const root = type === "m.thread" ? storable(eventId) : null;
  if (root === null) return { targetEventId: answered, threadEventId: null };
  return { targetEventId: isFallback === true ? root : (answered ?? root), threadEventId: root };
}

function storable(id: string | undefined): string | null {
  return id !== undefined && isStorable(id) ? id : null;
}
