import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { deleteUser } from "../../api/mutations/delete-user.ts";
import { findErasure } from "../../shared/db/users/erasures.ts";
import { externalEntryId, newId } from "../../shared/platform/ids.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { publishRooms } from "../../shared/timeline/publish.ts";
import { removeStaleStreams } from "../../shared/timeline/remove-stale-streams.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { handleErasure } from "../../workers/jobs/erasure.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place.close());

const SECRET = "secret-of-the-erased";

/** Where a text stands in Postgres: each column that may hold text, of each table. */
async function findText(text: string): Promise<string[]> {
  const columns = await place.sql<{ table_name: string; column_name: string }>(
    `select table_name, column_name from information_schema.columns
      where table_schema = 'public' and data_type in ('text', 'jsonb', 'json', 'character varying', 'bytea', 'ARRAY')`,
  );
  const found: string[] = [];
  for (const { table_name: table, column_name: column } of columns) {
    const [row] = (
      await place.db.raw<{ rows: { count: number }[] }>(
        `select count(*) as count from "${table}" where cast("${column}" as text) like ?`,
        [`%${text}%`],
      )
    ).rows;
    if ((row?.count ?? 0) > 0) found.push(`${table}.${column}`);
  }
  return found;
}

/** The keys of Redis that hold a text. */
async function findInRedis(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const key of await place.redis.keys("*")) {
    const type = await place.redis.type(key);
    const value =
      type === "stream"
        ? await place.redis.xrange(key, "-", "+")
        : type === "hash"
          ? await place.redis.hgetall(key)
          : type === "string"
            ? await place.redis.get(key)
            : [];
    if (JSON.stringify(value).includes(text)) found.push(key);
  }
  return found;
}

/** Says that Matrix has all messages of a room, each as an event that its id names. */
async function markSent(room: Room): Promise<void> {
  await place.db.raw(
    `update messages set status = 'sent', open = false, event_id = '$' || id, seen_event_id = '$' || id
      where room_id = ?`,
    [room.id],
  );
  await place.db.raw("update rooms set matrix_room_id = '!' || id where id = ?", [room.id]);
}

async function runErasure(userId: string, homeserver: FakeHomeserver, maxRuns = 100): Promise<void> {
  const key = { tenantId: place.tenantId, userId };
  for (let run = 0; run < maxRuns; run++)
    if ((await handleErasure(place.context(homeserver), key)).retryInMs === null) return;
  throw new Error("the erasure does not end");
}

const redactions = (homeserver: FakeHomeserver) =>
  homeserver.calls.filter(({ path }) => path.includes("/redact/")).map(({ path }) => path);

test("what an erased person wrote stands nowhere any more, under a new epoch and with no entry for each message", async () => {
  const room = await place.room("group:erase", ["eve", "bob"]);
  const userId = await place.userId("eve");
  await place.db.raw("update users set display_name = ?, avatar = ? where id = ?", [SECRET, SECRET, userId]);
  const messages = await place.accept(room, "eve", `${SECRET} 1`, `${SECRET} 2`, `${SECRET} 3`);
  const [of] = await place.accept(room, "bob", "bob's own words");
  const target = messages[0]?.id ?? "";
  await place.act(room, "eve", target, {
    ...{ kind: "edit", of: "text", text: `${SECRET} edited`, format: "plain" },
    ...{ html: null, mentions: { users: [], room: false } },
  });
  await place.act(room, "bob", target, { kind: "reaction", key: "👍" });
  await place.act(room, "eve", messages[2]?.id ?? "", { kind: "deletion", reason: `${SECRET} reason` });
  await place.db.transaction((trx) =>
    appendEntries(trx, [
      {
        roomId: room.id,
        entries: [
          {
            ...{ entryId: externalEntryId(room.id, "$theirs"), eventId: "$theirs", type: "message.created" },
            ...{
              senderId: userId,
              senderName: null,
              clientId: null,
              content: { kind: "text", text: SECRET },
            },
            at: null,
          },
        ],
      },
    ]),
  );
  await place.db.raw(
    `insert into waiting_acts (room_id, event_id, tenant_id, target_event_id, act) values (?, '$e', ?, '$t', ?)`,
    [room.id, place.tenantId, JSON.stringify({ userId, content: { kind: "edit", text: SECRET } })],
  );
  await markSent(room);
  await publishRooms(place, [room.id]);
  expect(await findInRedis(SECRET)).not.toEqual([]);
  const [before] = await place.sql<{ epoch: string }>("select epoch from room_timeline where room_id = ?", [
    room.id,
  ]);
  await deleteUser(place.db, place.tenantId, "eve", { erases: true });
  const [deleted] = await place.sql<{ last_number: number }>(
    "select last_number from room_timeline where room_id = ?",
    [room.id],
  );

  const homeserver = new FakeHomeserver();
  await runErasure(userId, homeserver);
  await removeStaleStreams(place, 100);
  expect(await findText(SECRET)).toEqual([]);
  expect(await findInRedis(SECRET)).toEqual([]);
  const [after] = await place.sql<{ epoch: string; last_number: number }>(
    "select epoch, last_number from room_timeline where room_id = ?",
    [room.id],
  );
  expect(after?.epoch).not.toBe(before?.epoch);
  expect(after?.last_number).toBe(deleted?.last_number);
  const kept = await place.sql("select 1 from timeline where entry_id = ? and content ->> 'text' = ?", [
    of?.id,
    "bob's own words",
  ]);
  expect(kept).toHaveLength(1);
  const erasure = await findErasure(place.db, place.tenantId, "eve");
  expect(erasure?.finished_at).not.toBeNull();
  expect(erasure).toMatchObject({ messages: 3, events: 4, events_done: 4 });
  expect(erasure?.entries_done).toBe(erasure?.entries);
  // Two messages, the edit, and what came from Matrix: the deleted message was redacted by its deletion.
  expect(redactions(homeserver)).toHaveLength(4);
  expect(redactions(homeserver).filter((path) => path.includes("theirs"))).toHaveLength(1);
});

test("an erasure that is interrupted anywhere goes on where it was, and redacts each event once", async () => {
  const room = await place.room("group:erase-killed", ["ivo"]);
  const userId = await place.userId("ivo");
  const texts = Array.from({ length: 30 }, (_, index) => `${SECRET} ${String(index)}`);
  await place.accept(room, "ivo", ...texts);
  await markSent(room);
  await deleteUser(place.db, place.tenantId, "ivo", { erases: true });
  const homeserver = new FakeHomeserver();
  let calls = 0;
  // Each third answer is lost, after the homeserver has done what it was asked for.
  homeserver.meanwhile = () => (++calls % 3 === 0 ? Promise.reject(new Error("killed")) : Promise.resolve());
  for (let run = 0; run < 60; run++) {
    await place.db.raw("update erasures set next_attempt_at = now() where finished_at is null");
    const result = await handleErasure(place.context(homeserver), { tenantId: place.tenantId, userId }).catch(
      () => null,
    );
    if (result?.retryInMs === null) break;
  }
  expect((await findErasure(place.db, place.tenantId, "ivo"))?.finished_at).not.toBeNull();
  // The transaction id is part of the path: what is repeated is the same redaction.
  expect(new Set(redactions(homeserver)).size).toBe(30);
  expect(redactions(homeserver).length).toBeGreaterThan(30);
  expect(await findText(SECRET)).toEqual([]);
});

test("a message on its way to Matrix is redacted when its event is known", async () => {
  const room = await place.room("group:erase-sending", ["ola"]);
  const userId = await place.userId("ola");
  const [message] = await place.accept(room, "ola", SECRET);
  await place.db.raw("update rooms set matrix_room_id = '!' || id where id = ?", [room.id]);
  await place.db.raw("update messages set status = 'sending' where id = ?", [message?.id ?? ""]);
  await deleteUser(place.db, place.tenantId, "ola", { erases: true });
  const homeserver = new FakeHomeserver();
  const key = { tenantId: place.tenantId, userId };
  for (let run = 0; run < 3; run++) {
    await place.db.raw("update erasures set next_attempt_at = now() where finished_at is null");
    expect((await handleErasure(place.context(homeserver), key)).retryInMs).not.toBeNull();
  }
  expect(redactions(homeserver)).toEqual([]);
  await place.db.raw("update messages set status = 'sent', event_id = '$late' where id = ?", [
    message?.id ?? "",
  ]);
  await place.db.raw("update erasures set next_attempt_at = now() where finished_at is null");
  await runErasure(userId, homeserver);
  expect(redactions(homeserver)).toHaveLength(1);
});

test("a room that refuses the observer keeps what stands in other rooms from nothing", async () => {
  const [closed, open] = [
    await place.room("group:erase-1", ["pia"]),
    await place.room("group:erase-2", ["pia"]),
  ];
  const userId = await place.userId("pia");
  for (const room of [closed, open]) {
    await place.accept(room, "pia", `${SECRET} ${newId()}`);
    await markSent(room);
  }
  await deleteUser(place.db, place.tenantId, "pia", { erases: true });
  const homeserver = new FakeHomeserver();
  homeserver.refuse(new RegExp(closed.id), "forbidden");
  const key = { tenantId: place.tenantId, userId };
  await handleErasure(place.context(homeserver), key);
  await place.db.raw("update erasures set next_attempt_at = now() where finished_at is null");
  await runErasure(userId, homeserver);
  const paths = redactions(homeserver);
  expect(paths.filter((path) => path.includes(open.id))).toHaveLength(1);
  expect(paths.filter((path) => path.includes(closed.id))).toHaveLength(2);
});
