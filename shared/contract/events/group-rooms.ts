import { z } from "zod";
import { roomSlug } from "../names.ts";
import { defineEvent } from "./define.ts";
import { ROOM_DELETED, ROOM_MADE, ROOM_RENAMED, roomData } from "./room-data.ts";

const group = { group: roomSlug };

export const groupCreated = defineEvent({
  type: "chat.group.created",
  data: z.strictObject({ ...group, ...roomData }),
  example: { group: "chess", name: "Chess", host: "ada" },
  effect: `${ROOM_MADE} At a slug that a renamed room had before, a new room is made.`,
});

export const groupUpdated = defineEvent({
  type: "chat.group.updated",
  data: z.strictObject({ ...group, ...roomData }),
  example: { group: "chess", topic: "Fridays at eight" },
  effect: ROOM_MADE,
});

export const groupDeleted = defineEvent({
  type: "chat.group.deleted",
  data: z.strictObject(group),
  example: { group: "chess" },
  effect: ROOM_DELETED,
});

export const groupRenamed = defineEvent({
  type: "chat.group.renamed",
  data: z.strictObject({ ...group, slug: roomSlug }),
  example: { group: "chess", slug: "chess-club" },
  effect: ROOM_RENAMED,
});
