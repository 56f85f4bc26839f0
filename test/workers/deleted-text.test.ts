import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { transactPipelined } from "../../shared/db/connection/pipelined-transaction.ts";
import { appendRedaction } from "../../shared/db/acts/append-matrix-act.ts";
import { upsertMembers } from "../../shared/db/memberships/memberships.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { lockTimeline } from "../../shared/db/timeline/append.ts";
import { newId } from "../../shared/platform/ids.ts";
import { publishRooms } from "../../shared/timeline/publish.ts";
import { applySyncPlan } from "../../workers/inbound/apply-plan.ts";
import { planPruned } from "../../workers/inbound/sync-plan.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { findText } from "../support/find-text.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let room: Room;
let count = 0;
/** Stands in every text of the message. */
let secret: string;

beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  secret = `secret-${newId()}`;
  room = await place.room(`group:text-${++count}`, ["ada", "bob"]);
  await upsertMembers(place.db, place.tenantId, room.id, [
    { userId: await place.userId("mod"), role: "moderator" },
  ]);
});
afterAll(() => place.close());

const drain = () =>
  handleOutboundMessage(place.context(homeserver), { tenantId: place.tenantId, roomId: room.id });

const edit = (text: string) => ({
  ...{ kind: "edit" as const, of: "text", text, format: "plain" as const, html: `<b>${text}</b>` },
  mentions: { users: ["bob"], room: false },
});

/** A message that is edited before and after Matrix has it, that is answered and reacted to, all of it published. */
async function say({ isSent = true } = {}): Promise<string> {
  const [message] = await place.accept(room, "ada", `${secret} first`);
  const id = message?.id ?? "";
  await place.act(room, "ada", id, edit(`${secret} second`));
  if (isSent) await drain();
  await place.act(room, "ada", id, edit(`${secret} third`));
  await place.act(room, "bob", id, { kind: "reaction", key: "👍" });
  await place.accept(room, "bob", "an answer");
  await place.sql(
    `update timeline set content = content || jsonb_build_object('replyTo', cast(? as text)) where room_id = ? and content ->> 'text' = 'an answer'`,
    [id, room.id],
  );
  await publishRooms(place, [room.id]);
  expect(await places()).toEqual(["messages", "stream", "timeline"]);
  return id;
}

async function places(): Promise<string[]> {
  return findText(place.db, place.redis, secret);
}

const eventOf = async (id: string) =>
  (await place.sql<{ event_id: string }>("select event_id from messages where id = ?", [id]))[0]?.event_id ??
  "";

const act = (user: string, id: string) => place.act(room, user, id, { kind: "deletion", reason: null });

const WAYS: [string, (id: string) => Promise<unknown>][] = [
  ["by its author", (id) => act("ada", id)],
  ["by a moderator", (id) => act("mod", id)],
  [
    "on Matrix by a moderator",
    async (id) => {
      const mod = await place.userId("mod");
      const redaction = appendRedaction({
        ...{ roomId: room.id, eventId: `$${newId()}`, targetEventId: await eventOf(id), kind: "deletion" },
        ...{
          content: { kind: "deletion", reason: null },
          senderMatrixId: "@mod:test",
          userId: mod,
          name: null,
        },
        ...{ ref: mod, at: new Date() },
      });
      await transactPipelined(place.db, [lockTimeline(room.id), ...redaction]);
    },
  ],
  [
    "on Matrix before the observer reads it",
    async (id) => {
      const plan = planPruned([{ roomId: room.id, messageId: id, eventId: await eventOf(id) }]);
      await applySyncPlan(place.db, { require: lockTimeline(room.id), plan, also: [] });
    },
  ],
];

test.each(WAYS)("a message that is deleted %s leaves no copy of its texts", async (_, remove) => {
  const id = await say();
  await remove(id);
  await publishRooms(place, [room.id]);
  expect(await places()).toEqual([]);
  await drain();
  expect(homeserver.texts.join(" ")).not.toContain(`${secret} third`);
  expect(
    await place.sql("select 1 from messages where room_id = ? and open and status in ('queued', 'sending')", [
      room.id,
    ]),
  ).toEqual([]);
  const [counts] = await place.sql<{ waiting: number; open: number }>(
    `select o.accepted_count - m.closed_count as waiting, (select count(*) from messages where room_id = o.room_id and open) as open
       from room_outbox o join room_mirrors m using (room_id) where o.room_id = ?`,
    [room.id],
  );
  expect(counts?.waiting).toBe(counts?.open);
});

test("a message that is deleted before Matrix has it leaves no copy of its texts", async () => {
  const id = await say({ isSent: false });
  await act("ada", id);
  await publishRooms(place, [room.id]);
  expect(await places()).toEqual([]);
  await drain();
  expect(homeserver.texts.join(" ")).not.toContain(secret);
});

test("a message that Matrix refuses leaves no copy of its texts where the tenant hides what is refused", async () => {
  await setTenantLimits(place.db, "acme", { onRefused: "hide" });
  const id = await say({ isSent: false });
  homeserver.refuse(new RegExp(id), "permanent");
  await drain();
  await setTenantLimits(place.db, "acme", {});
  await publishRooms(place, [room.id]);
  expect(await places()).toEqual([]);
});

test("several deletions at once remove every stream that holds their texts", async () => {
  const ids = [await say()];
  const first = await place.redis.keys(`*${room.id}*`);
  await act("ada", ids[0] ?? "");
  // Nobody publishes this deletion. What follows is published to the next stream, and deleted as well.
  const [next] = await place.accept(room, "ada", `${secret} next`);
  await publishRooms(place, [room.id]);
  await place.accept(room, "ada", ...Array.from({ length: 30 }, (_, index) => `later ${String(index)}`));
  await act("ada", next?.id ?? "");
  const [last] = await place.accept(room, "ada", "last");
  await act("ada", last?.id ?? "");
  await publishRooms(place, [room.id]);
  expect(first.length).toBeGreaterThan(0);
  expect(await places()).toEqual([]);
});
