import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { handleProvisioning } from "../../workers/jobs/provisioning.ts";
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
  homeserver.answer(/\/sync$/, { next_batch: "s9" }, { isKept: true });
  room = await place.room(`group:provisioned-${++count}`, ["ada", "bob"]);
  await place.sql("update rooms set matrix_room_id = ?, next_attempt_at = now() where id = ?", [
    `!${room.id}`,
    room.id,
  ]);
});
afterAll(() => place.close());

function provision(subject: "room" | "user", id: string) {
  return handleProvisioning(place.context(homeserver), { tenantId: place.tenantId, subject, id });
}

function drain() {
  return handleOutboundMessage(place.context(homeserver), { tenantId: place.tenantId, roomId: room.id });
}

async function state() {
  const [row] = await place.sql<Record<string, unknown>>(
    "select matrix_room_id, successor_matrix_room_id, next_attempt_at is null as done from rooms where id = ?",
    [room.id],
  );
  return row;
}

const successor = () => `!successor-${count}`;
const upgrade = () =>
  place.sql("update rooms set successor_matrix_room_id = ? where id = ?", [successor(), room.id]);

/** What Matrix answers about the successor: who created it, in place of which room. */
const createdBy = (sender: string, predecessor: string, version = "11") => {
  homeserver.answer(/successor-\d+\/state\/m.room.create/, {
    sender,
    content: { room_version: version, predecessor: { room_id: predecessor } },
  });
};
const levels = async () => {
  homeserver.answer(/successor-\d+\/state\/m.room.power_levels/, { users: { [await observer()]: 100 } });
};

test("a successor that cannot be read now is read again later, and followed then", async () => {
  await upgrade();
  homeserver.refuse(/\/state\/m.room.create/, "transient");
  expect((await provision("room", room.id)).retryInMs).toBeGreaterThan(0);
  expect(await state()).toMatchObject({
    matrix_room_id: `!${room.id}`,
    successor_matrix_room_id: successor(),
  });

  await place.sql("update rooms set next_attempt_at = now() where id = ?", [room.id]);
  createdBy(await observer(), `!${room.id}`);
  await levels();
  await provision("room", room.id);
  expect(await state()).toMatchObject({ matrix_room_id: successor(), successor_matrix_room_id: null });
});

test("what no observer has read before an upgrade is sent again to the successor, in its order, and all of that is read", async () => {
  await place.accept(room, "ada", "one", "two");
  await drain();
  await place.accept(room, "ada", "three");
  await upgrade();
  createdBy(await observer(), `!${room.id}`);
  await levels();
  await drain();
  expect(await state()).toMatchObject({ matrix_room_id: successor() });
  await place.sql("update room_outbox set next_attempt_at = now() where room_id = ?", [room.id]);
  await drain();
  const inSuccessor = homeserver.calls
    .filter(({ path }) => path.includes(`${encodeURIComponent(successor())}/send/`))
    .map(({ body }) => body["body"]);
  expect(inSuccessor).toEqual(["one", "two", "three"]);
  const gap = "select gap_from, gap_to from room_timeline where room_id = ?";
  expect(await place.sql(gap, [room.id])).toEqual([{ gap_from: "", gap_to: "s9" }]);
});

test.each([
  ["the observer is removed", "observer_left_at = now()"],
  ["the room is upgraded", "successor_matrix_room_id = '!successor'"],
])("a room stays due when %s while a job brings it to its description", async (_, noted) => {
  homeserver.meanwhile = async (path) => {
    if (path.endsWith("/state/m.room.name"))
      await place.sql(`update rooms set ${noted}, next_attempt_at = now() where id = ?`, [room.id]);
  };
  await provision("room", room.id);
  expect(await state()).toMatchObject({ done: false });
});

test.each([
  ["that names another predecessor", (self: string) => createdBy(self, "!x")],
  ["that another person created", () => createdBy("@ada:test", `!${room.id}`, "12")],
  ["that the observer is not in", () => homeserver.refuse(/m.room.create/, "forbidden")],
])("a successor %s is not followed: the observer creates another one", async (_, prepare) => {
  await upgrade();
  prepare(await observer());
  await levels();
  await provision("room", room.id);
  const created = homeserver.calls.find(({ path }) => path === "/createRoom");
  expect(created).toMatchObject({ body: { creation_content: { predecessor: { room_id: `!${room.id}` } } } });
  const ours = `!${String(created?.body["room_alias_name"])}:test`;
  expect(await state()).toMatchObject({ matrix_room_id: ours, successor_matrix_room_id: null });
  const tombstone = homeserver.calls.find(
    ({ method, path }) => method === "PUT" && path.endsWith("/m.room.tombstone"),
  );
  expect(tombstone).toMatchObject({ body: { replacement_room: ours } });
  expect(tombstone?.path).toContain(encodeURIComponent(`!${room.id}`));
});

/** Users who left by themselves, and users who were removed, by Matrix id. */
function gone(): unknown[] {
  return homeserver.calls
    .filter(({ path }) => path.endsWith("/leave") || path.endsWith("/kick"))
    .map(({ as, body }) => body["user_id"] ?? as);
}

async function matrixIds(): Promise<string[]> {
  const rows = await place.sql<{ id: string }>("select matrix_user_id as id from users order by external_id");
  return rows.map(({ id }) => id);
}

async function observer(): Promise<string> {
  const [row] = await place.sql<{ id: string }>("select matrix_user_id as id from observers");
  return row?.id ?? "";
}

async function deleteRoom(): Promise<void> {
  await place.sql("update memberships set applied = 'in' where room_id = ?", [room.id]);
  await place.sql("update rooms set deleted_at = now() where id = ?", [room.id]);
}

test("everybody leaves a deleted room, the observer last", async () => {
  await deleteRoom();
  const [ada = "", bob = ""] = await matrixIds();
  const self = await observer();
  homeserver.answer(/joined_members$/, { joined: { [self]: {}, [ada]: {}, [bob]: {} } });
  await provision("room", room.id);
  expect(gone()).toEqual([ada, bob, self]);
  expect(await state()).toMatchObject({ done: true });
});

test("the members leave a deleted room by themselves when the observer is out of it", async () => {
  await deleteRoom();
  homeserver.refuse(/joined_members$/, "forbidden");
  await provision("room", room.id);
  expect(gone()).toEqual([...(await matrixIds()), await observer()]);
  expect(await state()).toMatchObject({ done: true });
});

test("the account of a deleted user is removed though a crash lost the record of its registration", async () => {
  const id = await place.userId("cleo");
  const [row] = await place.sql<{ matrix_user_id: string }>("select matrix_user_id from users where id = ?", [
    id,
  ]);
  homeserver.accounts.add(row?.matrix_user_id ?? "");
  await place.sql("update users set deleted_at = now(), next_attempt_at = now() where id = ?", [id]);
  await provision("user", id);
  expect([...homeserver.accounts]).toEqual([]);
});
