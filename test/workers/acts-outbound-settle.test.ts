import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { ActContent } from "../../shared/contract/content/acts.ts";
import { isViewStale } from "../../shared/db/connection/failures.ts";
import { transactPipelined } from "../../shared/db/connection/pipelined-transaction.ts";
import { requeueMessages } from "../../shared/db/messages/missing-messages.ts";
import {
  settleClaimed,
  settleMessages,
  type ClaimedEvent,
  type SettledMessage,
} from "../../shared/db/messages/settle.ts";
import { reportRevived } from "../../shared/db/messages/status-entries.ts";
import { acquireRoomLease, releaseRoomLease } from "../../shared/db/rooms/room-lease.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { newFence } from "../../shared/platform/ids.ts";
import type { AppendedRow } from "../../shared/timeline/append.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { unmetMessages, unseenMessages } from "../../workers/outbound/find-missing.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let room: Room;
/** A message of ada that is on Matrix as `$message`, and its author. */
let message: string;
let ada: string;
let observer: string;
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  room = await place.room(`group:acts-settled-${++count}`, ["ada", "bob"]);
  message = (await place.accept(room, "ada", "hello"))[0]?.id ?? "";
  await drain();
  ada = await matrixIdOf("ada");
  const [row] = await place.sql<{ matrix_user_id: string }>(
    "select o.matrix_user_id from observers o join rooms r on r.observer_id = o.id where r.id = ?",
    [room.id],
  );
  observer = row?.matrix_user_id ?? "";
});
afterAll(() => place.close());

function drain() {
  return handleOutboundMessage(place.context(homeserver), { tenantId: place.tenantId, roomId: room.id });
}

async function matrixIdOf(user: string): Promise<string> {
  const [row] = await place.sql<{ matrix_user_id: string }>("select matrix_user_id from users where id = ?", [
    await place.userId(user),
  ]);
  return row?.matrix_user_id ?? "";
}

async function act(user: string, content: ActContent): Promise<string> {
  const acceptance = await place.act(room, user, message, content);
  if (acceptance.outcome !== "done") throw new Error(`not accepted: ${acceptance.outcome}`);
  return acceptance.id;
}

const edit = (text: string): ActContent => ({
  ...{ kind: "edit", of: "text", text, format: "plain", html: null },
  mentions: { users: [], room: false },
});

type Row = { event_id: string; status: string; open: boolean; replayed: boolean; error_code: string | null };
async function rowOf(id: string): Promise<Row | undefined> {
  const rows = await place.sql<Row>(
    "select event_id, status, open, replayed, error_code from messages where id = ?",
    [id],
  );
  return rows[0];
}

/** An event that claims to be the act, by its author and about its message unless the test says otherwise. */
async function claim(id: string, claimed: Partial<ClaimedEvent>): Promise<ClaimedEvent> {
  return {
    ...{ roomId: room.id, messageId: id, eventId: (await rowOf(id))?.event_id ?? `$${id}`, sender: ada },
    ...{ kinds: ["edit"], targetEventId: (await rowOf(message))?.event_id ?? null, ...claimed },
  };
}

/** Settles a claim: the outcome, or null when it is not ours. */
async function settle(claimed: ClaimedEvent): Promise<string | null> {
  try {
    const [[settled]] = await transactPipelined<[SettledMessage[]]>(place.db, [settleClaimed([claimed])]);
    return settled?.outcome ?? null;
  } catch (error) {
    if (isViewStale(error)) return null;
    throw error;
  }
}

test("an act is settled by its marker when sender, kind and message are those of its row; the text does not count", async () => {
  const edited = await act("ada", edit("hello!"));
  const other = { eventId: "$before-the-answer" };

  expect(await settle(await claim(edited, { ...other, sender: await matrixIdOf("bob") }))).toBeNull();
  expect(await settle(await claim(edited, { ...other, sender: observer }))).toBeNull();
  expect(await settle(await claim(edited, { ...other, kinds: ["reaction"] }))).toBeNull();
  expect(await settle(await claim(edited, { ...other, targetEventId: "$another" }))).toBeNull();
  expect(await settle(await claim(edited, other))).toBe("seen");
  expect(await rowOf(edited)).toMatchObject({ event_id: "$before-the-answer", status: "sent", open: false });
});

test("an act is settled though the event of its message is not marked yet", async () => {
  await place.sql("update messages set event_id = null, status = 'sending' where id = ?", [message]);
  const edited = await act("ada", edit("hello!"));

  expect(await settle(await claim(edited, { targetEventId: "$the-message" }))).toBe("seen");
});

test("what the observer carries out is settled by the observer, and by nobody else", async () => {
  const deleted = await act("ada", { kind: "deletion", reason: null });
  await place.sql("update messages set acts_as = 'observer' where id = ?", [deleted]);
  const redaction = { kinds: ["deletion", "unreaction"], targetEventId: null };

  expect(await settle(await claim(deleted, { ...redaction, sender: ada }))).toBeNull();
  expect(await settle(await claim(deleted, { ...redaction, sender: observer }))).toBe("seen");
});

test("a deletion of a removed author is settled by the observer too; a second redaction is no duplicate", async () => {
  const deleted = await act("ada", { kind: "deletion", reason: null });
  await drain();
  const redaction = { kinds: ["deletion", "unreaction"], targetEventId: null };

  expect(await settle(await claim(deleted, { ...redaction, sender: ada }))).toBe("seen");
  const second = await claim(deleted, { ...redaction, sender: observer, eventId: "$second" });
  expect((await settleAs(second))?.outcome).toBe("known");
  expect((await rowOf(deleted))?.event_id).not.toBe("$second");
});

/** Settles an event as the look-up of a batch does, that has found the row. */
async function settleAs(event: ClaimedEvent): Promise<SettledMessage | undefined> {
  const { roomId, messageId, eventId } = event;
  const [[settled]] = await transactPipelined<[SettledMessage[]]>(place.db, [
    settleMessages([{ roomId, messageId, eventId }]),
  ]);
  return settled;
}

test("a second event of an edit is a duplicate", async () => {
  const edited = await act("ada", edit("hello!"));
  await drain();

  expect((await settleAs(await claim(edited, { eventId: "$second" })))?.outcome).toBe("duplicate");
});

test("an edit that comes to Matrix after its message was deleted is redacted, and is no revival", async () => {
  const edited = await act("ada", edit("secret"));
  await place.sql("update messages set status = 'sending' where id = ?", [edited]);
  await act("ada", { kind: "deletion", reason: null });
  await drain();
  await drain();
  expect(await rowOf(edited)).toMatchObject({ status: "dead", error_code: "target_deleted" });

  expect((await settleAs(await claim(edited, { eventId: "$late" })))?.outcome).toBe("orphan");

  expect(await rowOf(edited)).toMatchObject({ status: "sent", open: false, event_id: "$late" });
  const [appended] = await transactPipelined<[AppendedRow[]]>(place.db, [reportRevived([edited])]);
  expect(appended).toEqual([]);
});

/** Requeues rows as a rereading does that does not meet them. */
async function requeue(which: "unseen" | "unmet"): Promise<string[]> {
  const anything = { rereading: null, sentSince: new Date(0), acceptedSince: null, acceptedUntil: null };
  const found =
    which === "unseen" ? unseenMessages(place.db, room.id) : unmetMessages(place.db, room.id, anything);
  const ids: string[] = [];
  const fence = newFence();
  const key = { tenantId: place.tenantId, roomId: room.id, fence, claim: 0 };
  expect(await acquireRoomLease(place.db, key)).not.toBeNull();
  for await (const part of found) {
    ids.push(...part.map(({ id }) => id));
    expect(await requeueMessages(place.db, room.id, fence, part)).not.toBeNull();
  }
  await releaseRoomLease(place.db, room.id, fence, null);
  return ids;
}

test.each(["unseen", "unmet"] as const)(
  "acts that a homeserver lost (%s) are queued again behind their message, except a reaction that was removed",
  async (which) => {
    const edited = await act("ada", edit("hello!"));
    await act("bob", { kind: "reaction", key: "+1" });
    const removed = await act("bob", { kind: "unreaction", key: "+1" });
    const kept = await act("bob", { kind: "reaction", key: "-1" });
    await drain();
    homeserver = new FakeHomeserver();

    expect(await requeue(which)).toEqual([message, edited, removed, kept]);
    await drain();

    const sent = homeserver.calls.filter(({ path }) => /\/(send|redact)\//.test(path));
    expect(sent.map(({ path }) => path.split("/").at(-1))).toEqual([message, edited, removed, kept]);
    expect((await rowOf(edited))?.replayed).toBe(true);
    const entries = await place.sql<{ act: string; relates_to: string }>(
      "select content ->> 'act' as act, relates_to from timeline where room_id = ? and type = 'message.requeued' order by number",
      [room.id],
    );
    expect(entries).toEqual(
      ["message", "edit", "reaction", "reaction"].map((word) => ({ act: word, relates_to: message })),
    );
  },
);
