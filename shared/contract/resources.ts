/**
 * What the API returns and frames carry. A client ignores fields that are not named here, since a newer server may send
 * them; requests are strict.
 */
import { z } from "zod";
import { roomKind } from "./names.ts";
import { role } from "./roles.ts";

/** RFC 3339 in UTC, with milliseconds. */
const time = z.iso.datetime({ precision: 3 });

export const userResource = z
  .object({
    user: z.string(),
    displayName: z.string().nullable(),
    avatar: z.string().nullable(),
    status: z.enum(["pending", "ready", "locked", "failed"]),
    createdAt: time,
  })
  .meta({ id: "User" });
export type UserResource = z.infer<typeof userResource>;

export const roomResource = z
  .object({
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
    sentUpTo: z.int().meta({
      description: "All messages that came through the API are on Matrix up to this number, or dead",
    }),
    members: z.int().meta({ description: "How many members the room has" }),
    createdAt: time,
  })
  .meta({ id: "Room" });
export type RoomResource = z.infer<typeof roomResource>;

/** A person as clients show them. `user` is null for a person on Matrix whom the tenant does not know. */
export const person = z
  .object({
    user: z.string().nullable(),
    displayName: z.string().nullable(),
    avatar: z.string().nullable(),
  })
  .meta({ id: "Person" });
export type Person = z.infer<typeof person>;

export const memberResource = z
  .object({
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

/** Why Matrix does not have a message and never will. */
export const messageError = z.object({ code: z.string(), message: z.string() });
export type MessageError = z.infer<typeof messageError>;

/** The fields of a Message that its kind of content gives; the others are the same for every kind. */
const contentFields = { text: z.string() };
export type ContentFields = z.infer<z.ZodObject<typeof contentFields>>;

export const messageResource = z
  .object({
    id: z.uuid(),
    room: z.string(),
    number: z.int().nullable().meta({
      description:
        "Its number in the timeline, from its acceptance on. Null for a dead message of version 0.2",
    }),
    clientId: z.string().nullable(),
    sender: person,
    ...contentFields,
    at: time,
    status: messageStatus,
    error: messageError.nullable(),
    deletedAt: time.nullable(),
  })
  .meta({ id: "Message" });
export type MessageResource = z.infer<typeof messageResource>;

export const myRoomResource = z
  .object({
    ...roomResource.shape,
    role,
    unread: z.int(),
    mentions: z.int(),
    lastMessage: messageResource.nullable(),
  })
  .meta({ id: "MyRoom" });
export type MyRoomResource = z.infer<typeof myRoomResource>;
