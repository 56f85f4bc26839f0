import { z } from "zod";
import { roomSlug } from "../names.ts";
import { defineEvent } from "./define.ts";
import { ROOM_DELETED, ROOM_MADE, ROOM_RENAMED, roomData } from "./room-data.ts";

const event = { event: roomSlug };

export const eventCreated = defineEvent({
  type: "chat.event.created",
  data: z.strictObject({ ...event, ...roomData }),
  example: { event: "py-meetup", name: "Py meetup", visibility: "public", host: "ada" },
  effect: `${ROOM_MADE} At a slug that a renamed room had before, a new room is made.`,
});

export const eventUpdated = defineEvent({
  type: "chat.event.updated",
  data: z.strictObject({ ...event, ...roomData }),
  example: { event: "py-meetup", topic: "Bring a laptop", posting: "speakers" },
  effect: ROOM_MADE,
});

export const eventDeleted = defineEvent({
  type: "chat.event.deleted",
  data: z.strictObject(event),
  example: { event: "py-meetup" },
  effect: ROOM_DELETED,
});

export const eventRenamed = defineEvent({
  type: "chat.event.renamed",
  data: z.strictObject({ ...event, slug: roomSlug }),
  example: { event: "py-meetup", slug: "python-meetup" },
  effect: ROOM_RENAMED,
});
