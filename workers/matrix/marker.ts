import type { MatrixEvent } from "./event.ts";

/** The field of an event's content that holds our message's id, so that we recognise the event when we read it. */
export const MARKER = "org.openmeet.message";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The id of the message that an event claims to be. Any client can write such a claim. */
export function readMarker(event: MatrixEvent): string | null {
  const marker = event.content[MARKER];
  return typeof marker === "string" && UUID.test(marker) ? marker : null;
}
