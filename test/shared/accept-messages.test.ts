import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { acceptMessages, type NewMessage } from "../../shared/db/messages/accept-messages.ts";
import { lockOutboxes } from "../../shared/db/rooms/rooms.ts";
import { newId } from "../../shared/platform/ids.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { until } from "../support/wait.ts";
import { openApiWorld, type ApiWorld, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("batches");
  for (const slug of ["a", "b"]) {
    await tenant.server("PUT", `/v1/rooms/group/${slug}`, {
      body: { name: slug, members: [{ user: "ada" }, { user: "gil", role: "guest" }] },
    });
  }
});
afterAll(() => world.close());

function message(slug: string, text: string, more: Partial<NewMessage> = {}): NewMessage {
  const room = { kind: "group" as const, slug };
  const content = { kind: "text" as const, text };
  const sender = { tenantId: tenant.row.id, user: "ada", stamp: null };
  return { ...sender, room, content, clientId: null, requestHash: null, ...more };
}

test("a batch is answered in the order asked, good ones and refused ones", async () => {
  const twice = { clientId: "twice", requestHash: "00" };
  const answers = await acceptMessages(world.db, [
    message("a", "1"),
    message("none", "2"),
    message("b", "3"),
    message("a", "4", { user: "gil" }),
    message("a", "5", twice),
    message("a", "5", twice),
    message("a", "6", { user: "outsider" }),
  ]);
  expect(answers.map(({ outcome }) => outcome)).toEqual([
    "accepted",
    "no_such_room",
    "accepted",
    "may_not_post",
    "accepted",
    "replayed",
    "no_such_room",
  ]);
  const [first, , third, , fifth, sixth] = answers.map((answer) =>
    "message" in answer ? answer.message : null,
  );
  expect([first?.order_number, third?.order_number]).toEqual([1, 1]);
  expect(sixth?.id).toBe(fifth?.id);
});

test("batches that lock the same rooms in another order all come through", async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      acceptMessages(
        world.db,
        index % 2 ? [message("a", "x"), message("b", "x")] : [message("b", "x"), message("a", "x")],
      ),
    ),
  );
  expect(answers.flat().every(({ outcome }) => outcome === "accepted")).toBe(true);
});

test("only the first message of an idle room wakes it: one job sends the others too", async () => {
  await tenant.server("PUT", "/v1/rooms/group/idle", { body: { name: "idle", members: [{ user: "ada" }] } });
  const wakes = async (text: string) => {
    const woken: string[] = [];
    const [answer] = await acceptMessages(world.db, [message("idle", text)], (idle) => {
      woken.push(...idle.map(({ roomId }) => roomId));
    });
    return answer?.outcome === "accepted" ? woken.map((roomId) => roomId === answer.message.room_id) : null;
  };
  expect(await wakes("1")).toEqual([true]);
  expect(await wakes("2")).toEqual([]);

  await world.db.raw(
    "update room_outbox set next_attempt_at = null where room_id = (select id from rooms where tenant_id = ? and slug = 'idle')",
    [tenant.row.id],
  );
  expect(await wakes("3")).toEqual([true]);
});

test("an accepted message has the position of its room's timeline, with the removals that were committed while it waited", async () => {
  await tenant.server("PUT", "/v1/rooms/group/place", {
    body: { name: "place", members: [{ user: "ada" }] },
  });
  const [room] = await read<{ id: string; epoch: string; last_number: number }>(
    "select r.id, t.epoch, t.last_number from rooms r join room_timeline t on t.room_id = r.id where r.slug = 'place'",
  );
  if (!room) throw new Error("no room");
  const { trx, left } = await removeSomebody(room.id);
  const answer = acceptMessages(world.db, [message("place", "behind it")]);
  await until(async () => {
    const waiting =
      "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    return (await read(waiting)).length > 0;
  }, "the message waits for the removal");
  await trx.commit();
  expect(left).toBe(room.last_number + 1);
  expect(await answer).toMatchObject([
    { outcome: "accepted", position: { epoch: room.epoch, lastNumber: left } },
  ]);
});

async function read<Row>(sql: string): Promise<Row[]> {
  return (await world.db.raw<{ rows: Row[] }>(sql)).rows;
}

/** A transaction that holds a room's lock and has appended that somebody left; ending it is the caller's. */
async function removeSomebody(roomId: string) {
  const trx = await world.db.transaction();
  await lockOutboxes(trx, tenant.row.id, [roomId]);
  const [row] = await appendEntries(trx, [
    {
      roomId,
      entries: [
        {
          ...{ entryId: newId(), eventId: null, type: "member.left", senderId: null, senderName: null },
          ...{ clientId: null, content: { role: "member", by: null }, at: null },
        },
      ],
    },
  ]);
  return { trx, left: row?.number };
}
