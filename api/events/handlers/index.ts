import type { EventType } from "../../../shared/contract/events/index.ts";
import type { RoomAddress } from "../../../shared/contract/names.ts";
import type { Handler } from "./define.ts";
import { putMember, removeMember, updateAttendee } from "./members.ts";
import { deleteRoom, putRoom, renameRoom } from "./rooms.ts";
import { deleteUser, updateUser } from "./users.ts";

const event = (slug: string): RoomAddress => ({ kind: "event", slug });
const group = (slug: string): RoomAddress => ({ kind: "group", slug });

/** What each type of event changes. */
export const HANDLERS: { readonly [T in EventType]: Handler<T> } = {
  "chat.event.created": (plan, { event: slug, ...data }) => {
    putRoom(plan, event(slug), data, { isNew: true });
  },
  "chat.event.updated": (plan, { event: slug, ...data }) => {
    putRoom(plan, event(slug), data, { isNew: false });
  },
  "chat.event.deleted": (plan, data) => {
    deleteRoom(plan, event(data.event));
  },
  "chat.event.renamed": (plan, data) => {
    renameRoom(plan, event(data.event), data.slug);
  },
  "chat.event.member.add": (plan, data) => {
    putMember(plan, event(data.event), data.user, data.role);
  },
  "chat.event.member.remove": (plan, data) => {
    removeMember(plan, event(data.event), data.user);
  },
  "chat.event.attendee.updated": (plan, data, settings) => {
    updateAttendee(plan, event(data.event), data, settings);
  },
  "chat.group.created": (plan, { group: slug, ...data }) => {
    putRoom(plan, group(slug), data, { isNew: true });
  },
  "chat.group.updated": (plan, { group: slug, ...data }) => {
    putRoom(plan, group(slug), data, { isNew: false });
  },
  "chat.group.deleted": (plan, data) => {
    deleteRoom(plan, group(data.group));
  },
  "chat.group.renamed": (plan, data) => {
    renameRoom(plan, group(data.group), data.slug);
  },
  "chat.group.member.add": (plan, data) => {
    putMember(plan, group(data.group), data.user, data.role);
  },
  "chat.group.member.remove": (plan, data) => {
    removeMember(plan, group(data.group), data.user);
  },
  "chat.group.member.role": (plan, data) => {
    putMember(plan, group(data.group), data.user, data.role);
  },
  "chat.user.updated": (plan, { user, ...fields }) => {
    updateUser(plan, user, fields);
  },
  "chat.user.deleted": (plan, { user, erase = false }) => {
    deleteUser(plan, user, erase);
  },
};
