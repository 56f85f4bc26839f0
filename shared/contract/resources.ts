import { z } from "zod";
import { roomKind } from "./names.ts";
import { role } from "./roles.ts";

/** Times are RFC 3339, UTC, with milliseconds. */
const time = z.iso.datetime({ precision: 3 });

export const userResource = z
  .strictObject({
    user: z.string(),
    displayName: z.string().nullable(),
    avatar: z.string().nullable(),
    status: z.enum(["pending", "ready", "locked", "failed"]),
    createdAt: time,
  })
  .meta({ id: "User" });
export type UserResource = z.infer<typeof userResource>;

export const roomResource = z
  .strictObject({
    room: z.string(),
    kind: roomKind,
    slug: z.string(),
    name: z.string(),
    topic: z.string().nullable(),
    avatar: z.string().nullable(),
    visibility: z.enum(["private", "public"]),
    status: z.enum(["pending", "ready", "failed"]),
    epoch: z.string(),
    offset: z.int(),
    members: z.int().meta({ description: "How many members the room has" }),
    createdAt: time,
  })
  .meta({ id: "Room" });
export type RoomResource = z.infer<typeof roomResource>;

/** How a person is shown; `user` is null for somebody on Matrix whom the tenant does not know. */
export const person = z
  .strictObject({
    user: z.string().nullable(),
    displayName: z.string().nullable(),
    avatar: z.string().nullable(),
  })
  .meta({ id: "Person" });
export type Person = z.infer<typeof person>;

export const memberResource = z
  .strictObject({
    user: z.string(),
    displayName: z.string().nullable(),
    avatar: z.string().nullable(),
    role,
    status: z.enum(["pending", "ready", "failed", "removed"]),
  })
  .meta({ id: "Member" });
export type MemberResource = z.infer<typeof memberResource>;

export const messageStatus = z.enum(["queued", "sending", "sent", "dead"]);
export type MessageStatus = z.infer<typeof messageStatus>;

/** The fields of a Message that its kind of content gives; the others are the same for every kind. */
const contentFields = { text: z.string() };
export type ContentFields = z.infer<z.ZodObject<typeof contentFields>>;

export const messageResource = z
  .strictObject({
    id: z.uuid(),
    room: z.string(),
    number: z.int().nullable().meta({ description: "Its number in the timeline; null until it is there" }),
    clientId: z.string().nullable(),
    sender: person,
    ...contentFields,
    at: time,
    status: messageStatus,
    error: z.strictObject({ code: z.string(), message: z.string() }).nullable(),
  })
  .meta({ id: "Message" });
export type MessageResource = z.infer<typeof messageResource>;

export const myRoomResource = z
  .strictObject({
    ...roomResource.shape,
    role,
    unread: z.int(),
    mentions: z.int(),
    lastMessage: messageResource.nullable(),
  })
  .meta({ id: "MyRoom" });
export type MyRoomResource = z.infer<typeof myRoomResource>;
