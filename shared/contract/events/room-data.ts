import { posting } from "../permissions.ts";
import { avatarUrl, roomName, roomTopic, visibility } from "../room-fields.ts";
import { userName } from "../names.ts";

/** What a product says of a room; an absent field stays as it is, null clears it. */
export const roomData = {
  name: roomName.optional(),
  topic: roomTopic.nullish(),
  avatar: avatarUrl.nullish(),
  visibility: visibility.optional(),
  host: userName.optional().meta({ description: "Becomes an owner of the room" }),
  posting: posting.optional(),
};

export const ROOM_MADE =
  "The room is made if there is none: named after its slug if no name is given, and private. Fields that are given are changed; " +
  "the host becomes an owner.";
export const ROOM_DELETED =
  "The room is deleted. Its members leave it, and what waits for Matrix is dead; jobs finish that within seconds.";
export const ROOM_RENAMED =
  "The room gets the slug, and keeps its id, its history and its members. Its former slug leads to it. A slug that another room has " +
  "is not taken from it.";
export const MEMBER_ADDED =
  "The person becomes a member; the person and the room are made if there are none. With a role, a member gets that role; without " +
  "one, a member keeps the present role, and a new member gets the role member.";
export const MEMBER_REMOVED = "The person leaves the room. What the person's messages wait for ends.";
