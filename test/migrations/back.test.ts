import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { migrateDown, migrateUp } from "../../migrations/index.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { externalEntry, openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;

beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place.close());

const edit = (text: string) => ({
  ...{ kind: "edit" as const, of: "text", text, format: "markdown" as const, html: `<p>${text}</p>` },
  mentions: { users: [], room: false },
});

/** Types of entries that version 0.3 knows. */
const KNOWN = [
  ...["message.created", "message.failed", "message.requeued", "message.deleted"],
  ...["member.joined", "member.left", "member.changed", "room.changed"],
];

test("version 0.3 finds every message, with its newest text, after the schema went back from acts", async () => {
  const room = await place.room("group:back", ["ada", "bob"]);
  const [sent, queued, gone, plain] = await place.accept(room, "ada", "sent", "queued", "gone", "plain");
  const ids = [sent, queued, gone, plain].map((row) => row?.id ?? "");
  const [sentId = "", queuedId = "", goneId = "", plainId = ""] = ids;
  await place.sql("update messages set status = 'sent', event_id = '$sent' where id = ?", [sentId]);
  await place.act(room, "ada", sentId, edit("sent, edited"));
  await place.act(room, "ada", queuedId, edit("queued, edited"));
  await place.act(room, "bob", plainId, { kind: "reaction", key: "👍" });
  await place.act(room, "ada", goneId, { kind: "deletion", reason: null });
  await place.db.transaction((trx) =>
    appendEntries(trx, [
      {
        roomId: room.id,
        entries: [{ ...externalEntry("a notice"), content: { kind: "notice", text: "a notice" } }],
      },
    ]),
  );
  const [before] = await place.sql<{ epoch: string; last_number: number }>(
    "select epoch, last_number from room_timeline where room_id = ?",
    [room.id],
  );

  for (let last = ""; last !== "0026-acts";) [last = ""] = await migrateDown(place.db);

  const entries = await place.sql<{ number: number; type: string; content: { kind?: string; text: string } }>(
    "select number, type, content from timeline where room_id = ? order by number",
    [room.id],
  );
  expect(entries.map(({ number }) => number)).toEqual(entries.map((_, index) => index + 1));
  expect(entries.at(-1)?.number).toBe(before?.last_number);
  expect(entries.filter(({ type }) => !KNOWN.includes(type))).toEqual([]);
  const messages = entries.filter(({ type }) => type === "message.created");
  expect(messages.map(({ content }) => [content.kind, content.text])).toEqual(
    ["sent, edited", "queued, edited", "", "plain", "a notice"].map((text) => ["text", text]),
  );
  // What waits for Matrix, as version 0.3 counts and sends it.
  expect(
    await place.sql(
      "select id, content ->> 'text' as text from messages where room_id = ? and open order by order_number",
      [room.id],
    ),
  ).toEqual([
    { id: sentId, text: "sent" },
    { id: queuedId, text: "queued, edited" },
    { id: plainId, text: "plain" },
  ]);
  const [counts] = await place.sql<{ waiting: number }>(
    `select o.accepted_count - coalesce(m.closed_count, 0) as waiting from room_outbox o left join room_mirrors m using (room_id) where o.room_id = ?`,
    [room.id],
  );
  expect(counts).toEqual({ waiting: 3 });
  // It publishes to the stream without a number of its own.
  const [after] = await place.sql<{ epoch: string }>("select epoch from room_timeline where room_id = ?", [
    room.id,
  ]);
  expect(after?.epoch).not.toBe(before?.epoch);

  await migrateUp(place.db);
  const [next] = await place.accept(room, "ada", "next");
  expect(next?.number).toBe((before?.last_number ?? 0) + 1);
  const [row] = await place.sql<{ content: unknown }>("select content from timeline where entry_id = ?", [
    sentId,
  ]);
  expect(row?.content).toMatchObject({
    kind: "text",
    text: "sent, edited",
    format: "markdown",
    html: "<p>sent, edited</p>",
  });
  expect(await place.act(room, "ada", sentId, edit("once more"))).toMatchObject({ outcome: "done" });
});
