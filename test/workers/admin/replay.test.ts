import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { MessageRow } from "../../../shared/db/messages/messages.ts";
import type { Room } from "../../../shared/db/rooms/rooms.ts";
import { publishMarkedRooms, publishRooms } from "../../../shared/timeline/publish.ts";
import { roomStreamKey } from "../../../shared/platform/redis-keys.ts";
import { replayMessage, replayRoom } from "../../../workers/admin/replay.ts";
import { markRestored } from "../../../workers/admin/restored.ts";
import { handleOutboundMessage } from "../../../workers/jobs/outbound-message.ts";
import { FakeHomeserver } from "../../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let room: Room;
let messages: MessageRow[];
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  room = await place.room(`group:replay-${++count}`, ["ada"]);
  messages = await place.accept(room, "ada", "one", "two", "three");
});
afterAll(() => place.close());

const key = () => ({ tenantId: place.tenantId, roomId: room.id });
const drain = () => handleOutboundMessage(place.context(homeserver), key());
const replayAll = (code: string | null = null) =>
  replayRoom(place.db, { tenant: "acme", address: { kind: room.kind, slug: room.slug }, code });

/** As the drain marks it, and counts that. */
async function kill(id: string | undefined, code: string): Promise<void> {
  await place.sql(
    "update messages set status = 'dead', open = false, error_code = ?, error_message = 'why' where id = ?",
    [code, id],
  );
  await place.sql(
    `insert into room_mirrors as m (room_id, tenant_id, closed_count) values (?, ?, 1)
         on conflict (room_id) do update set closed_count = m.closed_count + 1`,
    [room.id, place.tenantId],
  );
}

async function entries(): Promise<unknown[]> {
  const rows = await place.sql<{ type: string; text: string | null }>(
    `select e.type, coalesce(e.content, m.content) ->> 'text' as text
       from timeline e left join messages m on m.id = e.relates_to where e.room_id = ? order by e.number`,
    [room.id],
  );
  return rows.map(({ type }) => type);
}

async function waiting(): Promise<unknown> {
  const [row] = await place.sql<{ waiting: number }>(
    "select accepted_count - closed_count as waiting from room_outbox join room_mirrors using (room_id) where room_id = ?",
    [room.id],
  );
  return row?.waiting;
}

test("a dead message that is replayed is sent behind what is on Matrix by then, and clients learn of it", async () => {
  await kill(messages[0]?.id, "refused");
  await drain();
  expect(homeserver.texts).toEqual(["two", "three"]);
  expect(await waiting()).toBe(2);
  expect(await replayMessage(place.db, messages[0]?.id ?? "")).toEqual({
    message: messages[0]?.id,
    replayed: 1,
  });
  expect(await waiting()).toBe(3);
  const [row] = await place.sql("select status, open, error_code, error_message from messages where id = ?", [
    messages[0]?.id,
  ]);
  expect(row).toEqual({ status: "queued", open: true, error_code: null, error_message: null });
  expect((await entries()).slice(3)).toEqual(["message.requeued"]);
  await drain();
  expect(homeserver.texts).toEqual(["two", "three", "one"]);
  await expect(replayMessage(place.db, messages[0]?.id ?? "")).rejects.toMatchObject({ code: "not_found" });
  const [audited] = await place.sql("select action from audit where subject = ?", [messages[0]?.id]);
  expect(audited).toEqual({ action: "message.replay" });
});

test("a room's dead messages are replayed in their order, those of a code alone where it is named", async () => {
  await kill(messages[0]?.id, "refused");
  await kill(messages[1]?.id, "unanswered");
  await kill(messages[2]?.id, "refused");
  expect(await replayAll("unanswered")).toMatchObject({ replayed: 1 });
  await drain();
  expect(await replayAll()).toMatchObject({ replayed: 2 });
  await drain();
  expect(homeserver.texts).toEqual(["two", "one", "three"]);
});

test.each(["sender_removed", "room_deleted"])("a message that died as %s is not replayed", async (code) => {
  await kill(messages[0]?.id, code);
  expect(await replayAll()).toMatchObject({ replayed: 0 });
  await expect(replayMessage(place.db, messages[0]?.id ?? "")).rejects.toMatchObject({ code: "not_found" });
});

test("a message that died in version 0.2, which stands in no timeline, is not replayed", async () => {
  await kill(messages[0]?.id, "refused");
  await place.sql("delete from timeline where entry_id = ?", [messages[0]?.id ?? ""]);
  expect(await replayAll()).toMatchObject({ replayed: 0 });
});

test("after a restore of Postgres every room has a new epoch, and its stream begins again in it", async () => {
  const epochs = async () => {
    const rows = await place.sql<{ room_id: string; epoch: string }>(
      "select room_id, epoch from room_timeline",
    );
    return new Map(rows.map(({ room_id, epoch }) => [room_id, epoch]));
  };
  await publishRooms(place, [room.id]);
  // Numbers that clients received and that the restored database does not have.
  const before = await epochs();
  await place.redis.xadd(roomStreamKey(room.id, before.get(room.id) ?? ""), "9-0", "m", "{}");
  expect(await markRestored(place.db)).toEqual({ rooms: before.size });
  const after = await epochs();
  for (const [roomId, epoch] of before) expect(after.get(roomId)).not.toBe(epoch);
  await place.sql("update unpublished_rooms set since = now() - interval '2 seconds'");
  await publishMarkedRooms(place, 1_000);
  const stream = await place.redis.xrange(roomStreamKey(room.id, after.get(room.id) ?? ""), "-", "+");
  expect(stream.map(([id]) => id)).toEqual(["1-0", "2-0", "3-0"]);
  const [audited] = await place.sql("select 1 as one from audit where action = 'restored'");
  expect(audited).toEqual({ one: 1 });
});
