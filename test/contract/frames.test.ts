import { expect, test } from "@jest/globals";
import { parsePublication } from "../../shared/contract/frames.ts";
import { roomResource } from "../../shared/contract/resources.ts";

const removed = { type: "room.removed", room: "event:py-meetup" };

test("a client ignores fields of a publication that it does not know", () => {
  expect(parsePublication({ ...removed, reason: "from a newer server" })).toEqual(removed);
});

test("a client ignores a publication of a type that it does not know", () => {
  expect(parsePublication({ type: "message.translated", room: "event:py-meetup", text: "Hallo" })).toBeNull();
});

test("a client refuses a publication that lacks what its type needs", () => {
  expect(() => parsePublication({ type: "room.removed" })).toThrow();
  expect(() => parsePublication("room.removed")).toThrow();
});

test("a client ignores fields of a resource that it does not know", () => {
  const room = {
    room: "event:py-meetup",
    kind: "event",
    slug: "py-meetup",
    name: "Py meetup",
    topic: null,
    avatar: null,
    visibility: "private",
    join: "invite",
    posting: "everyone",
    slowModeS: 0,
    retentionDays: 0,
    status: "ready",
    epoch: "e",
    offset: 0,
    sentUpTo: 0,
    members: 1,
    createdAt: "2026-01-01T00:00:00.000Z",
  };
  expect(roomResource.parse({ ...room, translations: 3 })).toEqual(room);
});
