import { z } from "zod";
import { roomSlug, userName } from "../names.ts";
import { role } from "../roles.ts";
import { defineEvent } from "./define.ts";
import { MEMBER_ADDED, MEMBER_REMOVED } from "./room-data.ts";

const member = { group: roomSlug, user: userName };

export const groupMemberAdd = defineEvent({
  type: "chat.group.member.add",
  data: z.strictObject({ ...member, role: role.optional() }),
  example: { group: "chess", user: "bob" },
  effect: MEMBER_ADDED,
});

export const groupMemberRemove = defineEvent({
  type: "chat.group.member.remove",
  data: z.strictObject(member),
  example: { group: "chess", user: "bob" },
  effect: MEMBER_REMOVED,
});

export const groupMemberRole = defineEvent({
  type: "chat.group.member.role",
  data: z.strictObject({ ...member, role }),
  example: { group: "chess", user: "bob", role: "moderator" },
  effect: "The person gets the role. A person who is no member becomes one.",
});
