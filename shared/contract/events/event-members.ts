import { z } from "zod";
import { roomSlug, userName } from "../names.ts";
import { role } from "../roles.ts";
import { defineEvent } from "./define.ts";
import { MEMBER_ADDED, MEMBER_REMOVED } from "./room-data.ts";

const member = { event: roomSlug, user: userName };

export const eventMemberAdd = defineEvent({
  type: "chat.event.member.add",
  data: z.strictObject({ ...member, role: role.optional() }),
  example: { event: "py-meetup", user: "bob", role: "speaker" },
  effect: MEMBER_ADDED,
});

export const eventMemberRemove = defineEvent({
  type: "chat.event.member.remove",
  data: z.strictObject(member),
  example: { event: "py-meetup", user: "bob" },
  effect: MEMBER_REMOVED,
});

export const attendeeUpdated = defineEvent({
  type: "chat.event.attendee.updated",
  data: z.strictObject({
    ...member,
    status: z.string().regex(/^[\w-]{1,64}$/, "must be a word of 1 to 64 letters, digits, - and _"),
    role: role.optional(),
  }),
  example: { event: "py-meetup", user: "bob", status: "confirmed" },
  effect:
    "The tenant's setting rsvp maps the status to a role, or to out. Without the setting confirmed, cancelled and rejected are " +
    "members, and everybody else is out. A role in the event stands above the mapped one. A role that no status is mapped to, such " +
    "as that of an owner, is not lowered by a status. A person whom a moderator has banned is not added again.",
});
