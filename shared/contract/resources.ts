/**
 * What the API returns and frames carry. A client ignores fields that are not named here, since a newer server may send
 * them; requests are strict.
 */
import { z } from "zod";
import { roomKind } from "./names.ts";
import { messageResource } from "./resources/message.ts";
import { roomSettings } from "./resources/settings.ts";
import { time } from "./resources/time.ts";
import { posting } from "./permissions.ts";
import { role } from "./roles.ts";

export { actResource, type ActResource } from "./resources/act.ts";
export {
  messageError,
  messageResource,
  messageVersion,
  readMessage,
  type ContentFields,
  type MessageError,
  type MessageResource,
  type MessageStatus,
  type MessageVersion,
  type ReadMessage,
  type ReactionCount,
} from "./resources/message.ts";
export { person, type Person } from "./resources/person.ts";
export { roomSettings, type RoomSettings } from "./resources/settings.ts";

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

/** Who may join a public room: everybody, or those alone whom the product adds. */
export const roomJoin = z.enum(["open", "invite"]);
export type RoomJoin = z.infer<typeof roomJoin>;

export const roomResource = z
  .object({
    room: z.string(),
    kind: roomKind,
    slug: z.string(),
    name: z.string(),
    topic: z.string().nullable(),
    avatar: z.string().nullable(),
    visibility: z.enum(["private", "public"]),
    join: roomJoin,
    posting,
    slowModeS: z.int().meta({
      description:
        "Seconds that a member waits between two messages; 0 for none. Moderators and above never wait",
    }),
    retentionDays: z.int().meta({ description: "Older messages are removed; 0: they stay for ever" }),
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

export const directoryRoomResource = z
  .object({
    ...roomResource.shape,
    role: role.nullable().meta({ description: "Mine; null for a room that I am not in" }),
  })
  .meta({ id: "DirectoryRoom" });
export type DirectoryRoomResource = z.infer<typeof directoryRoomResource>;

export const memberResource = z
  .object({
    user: z.string(),
    displayName: z.string().nullable(),
    avatar: z.string().nullable(),
    role,
    mutedUntil: time.nullable().meta({ description: "Until then the member only reads; null for none" }),
    status: z.enum(["pending", "ready", "failed", "removed"]),
  })
  .meta({ id: "Member" });
export type MemberResource = z.infer<typeof memberResource>;

/** A person who may not come into a room. */
export const banResource = z
  .object({
    user: z.string(),
    displayName: z.string().nullable(),
    avatar: z.string().nullable(),
    by: z.string().nullable().meta({ description: "Who banned; null for the product itself" }),
    reason: z.string().nullable(),
    at: time,
    status: z.enum(["pending", "ready"]).meta({ description: "ready: the chat server has it" }),
  })
  .meta({ id: "Ban" });
export type BanResource = z.infer<typeof banResource>;

export const myRoomResource = z
  .object({
    ...roomResource.shape,
    role,
    unread: z.int(),
    mentions: z.int(),
    settings: roomSettings,
    lastMessage: messageResource.nullable(),
  })
  .meta({ id: "MyRoom" });
export type MyRoomResource = z.infer<typeof myRoomResource>;
