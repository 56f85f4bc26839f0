import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { Role } from "../../shared/contract/roles.ts";
import { makeMembersDue } from "../../shared/db/memberships/members-due.ts";
import { endMemberships, upsertMembers } from "../../shared/db/memberships/memberships.ts";
import { changeRoom, type Room } from "../../shared/db/rooms/rooms.ts";
import { handleMembership } from "../../workers/jobs/membership.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let room: Room;
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  room = await place.room(`group:lowered-${++count}`, ["ada"], "moderator");
});
afterAll(() => place.close());

const address = () => ({ tenantId: place.tenantId, roomId: room.id });
const move = () => handleMembership(place.context(homeserver), address());
const drain = () => handleOutboundMessage(place.context(homeserver), address());

/** Ada has written, so she is on Matrix, with the level of a moderator. */
async function joinAda(): Promise<void> {
  await place.accept(room, "ada", "before");
  await drain();
  await move();
  expect(adasLevel()).toBe(50);
}

async function changeRole(role: Role): Promise<void> {
  await upsertMembers(place.db, place.tenantId, room.id, [{ userId: await place.userId("ada"), role }]);
  await makeMembersDue(place.db, place.tenantId, [room.id], 0);
}

/** Ada's level in the map that was sent last; 0 where the map does not name her. */
function adasLevel(): number | undefined {
  const maps = homeserver.calls.filter(
    ({ method, path }) => method === "PUT" && path.includes("m.room.power_levels"),
  );
  const users = maps.at(-1)?.body["users"] as Record<string, number> | undefined;
  return users && (Object.entries(users).find(([, level]) => level !== 100)?.[1] ?? 0);
}

const removals = () => homeserver.calls.filter(({ path }) => path.endsWith("/kick")).length;

/** The delay before the next attempt is over, or the change was made so long ago. */
async function isMinuteLater(): Promise<void> {
  await place.sql("update memberships set updated_at = updated_at - interval '1 minute' where room_id = ?", [
    room.id,
  ]);
  await place.sql("update messages set accepted_at = accepted_at - interval '1 minute' where room_id = ?", [
    room.id,
  ]);
}

test("a lower level follows the messages that were accepted before it", async () => {
  await joinAda();
  await place.accept(room, "ada", "as a moderator");
  await changeRole("member");

  expect((await move()).retryInMs).toBeGreaterThan(0);
  expect(adasLevel()).toBe(50);
  await drain();
  expect(await move()).toEqual({ retryInMs: null });
  expect([adasLevel(), homeserver.texts]).toEqual([0, ["before", "as a moderator"]]);
});

test("a lower level waits for no message that was accepted after it", async () => {
  await joinAda();
  await changeRole("member");
  await place.accept(room, "ada", "as a member");
  expect(await move()).toEqual({ retryInMs: null });
  expect(adasLevel()).toBe(0);
});

test("a lower level is applied a minute after the change, whatever is not sent", async () => {
  await joinAda();
  await place.accept(room, "ada", "as a moderator");
  await changeRole("member");
  await isMinuteLater();
  expect(await move()).toEqual({ retryInMs: null });
  expect(adasLevel()).toBe(0);
});

test("a higher level waits for no message", async () => {
  await joinAda();
  await place.accept(room, "ada", "as a moderator");
  await changeRole("admin");
  expect(await move()).toEqual({ retryInMs: null });
  expect(adasLevel()).toBe(75);
});

test("the repair after a refused message keeps the level that is lowered after the message", async () => {
  await joinAda();
  await place.accept(room, "ada", "as a moderator");
  await changeRole("member");
  homeserver.refuse(/\/send\//, "forbidden");
  await drain();
  expect([adasLevel(), homeserver.texts]).toEqual([50, ["before", "as a moderator"]]);
});

test("a member who becomes a guest leaves Matrix after the messages that were accepted before", async () => {
  await joinAda();
  await place.accept(room, "ada", "as a moderator");
  await changeRole("guest");
  expect((await move()).retryInMs).toBeGreaterThan(0);
  expect(removals()).toBe(0);
  await drain();
  expect(await move()).toEqual({ retryInMs: null });
  expect([removals(), homeserver.texts]).toEqual([1, ["before", "as a moderator"]]);
});

test("a member who becomes a guest before the first message is sent joins for it, and leaves after it", async () => {
  await place.accept(room, "ada", "first");
  await changeRole("guest");
  expect((await move()).retryInMs).toBeGreaterThan(0);
  await drain();
  expect(homeserver.texts).toEqual(["first"]);
  expect(await move()).toEqual({ retryInMs: null });
  expect(removals()).toBe(1);
});

test("a removal waits for no message: it is applied at once, and what is not sent is never sent", async () => {
  await joinAda();
  await place.accept(room, "ada", "too late");
  await endMemberships(place.db, place.tenantId, await place.userId("ada"), [room.id]);
  await makeMembersDue(place.db, place.tenantId, [room.id], -1);
  expect(await move()).toEqual({ retryInMs: null });
  await drain();
  expect([removals(), homeserver.texts]).toEqual([1, ["before"]]);
});

test("a room is for speakers alone on Matrix after what members wrote before is sent", async () => {
  await place.accept(room, "ada", "before");
  await drain();
  await move();
  await changeRole("member");
  await move();
  const writingLevel = () =>
    homeserver.calls
      .filter(({ method, path }) => method === "PUT" && path.includes("m.room.power_levels"))
      .at(-1)?.body["events_default"];
  await place.accept(room, "ada", "written before");
  await place.db.transaction((trx) => changeRoom(trx, room, { posting: "speakers" }));
  const waiting = await move();
  expect([waiting.retryInMs, writingLevel()]).toEqual([expect.any(Number), 0]);
  await drain();
  expect(homeserver.texts).toContain("written before");
  await move();
  expect(writingLevel()).toBe(25);
});
