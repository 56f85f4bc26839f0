import { z } from "zod";
import type { MatrixRequest } from "../content/define.ts";
import type { Requester } from "../http/client.ts";
import { MatrixFailure, unlessMissing } from "../http/failure.ts";
import { MARKER } from "../marker.ts";
import { roomPath } from "./room-path.ts";

const eventResponse = z.object({ event_id: z.string() });

/**
 * Sends our message `id` as an event with its marker, and returns the event's id. The message's id is the transaction id
 * too: a repeated call makes no second event. `atMs`: when it happened, in milliseconds since 1970; without it, when it is sent.
 */
export async function sendEvent(
  request: Requester,
  message: { matrixRoomId: string; id: string; event: MatrixRequest; atMs?: number | null },
): Promise<string> {
  const { type, content } = message.event;
  const response = await request({
    method: "PUT",
    path: roomPath(message.matrixRoomId, `send/${encodeURIComponent(type)}/${message.id}`),
    body: { ...content, [MARKER]: message.id },
    query: { ts: message.atMs?.toString() },
  });
  return readEventId(response);
}

function readEventId(response: unknown): string {
  const { success, data } = eventResponse.safeParse(response);
  // Something before the homeserver has answered: the event may be there or not.
  if (!success)
    throw new MatrixFailure("transient", { errcode: "an answer without an event", httpStatus: 200 });
  return data.event_id;
}

const storedEvent = z.object({
  unsigned: z.looseObject({ redacted_because: z.unknown().optional() }).optional(),
});

/** Whether the homeserver has an event. The account that asks must be in the room. */
export async function lookUpEvent(
  request: Requester,
  target: { matrixRoomId: string; eventId: string },
): Promise<"there" | "redacted" | "missing"> {
  const path = roomPath(target.matrixRoomId, `event/${encodeURIComponent(target.eventId)}`);
  const event = await unlessMissing(request({ method: "GET", path }));
  if (event === null) return "missing";
  return storedEvent.parse(event).unsigned?.redacted_because === undefined ? "there" : "redacted";
}

/**
 * Redacts an event, and returns the redaction's id. `marker`: our act that it carries out. A repeated call with the same event and
 * transaction id makes no second redaction.
 */
export async function redact(
  request: Requester,
  target: {
    matrixRoomId: string;
    eventId: string;
    transactionId: string;
    reason?: string | null;
    marker?: string | null;
  },
): Promise<string> {
  const { reason = null, marker = null } = target;
  const path = `redact/${encodeURIComponent(target.eventId)}/${target.transactionId}`;
  const response = await request({
    method: "PUT",
    path: roomPath(target.matrixRoomId, path),
    body: { ...(reason === null ? {} : { reason }), ...(marker === null ? {} : { [MARKER]: marker }) },
  });
  return readEventId(response);
}
