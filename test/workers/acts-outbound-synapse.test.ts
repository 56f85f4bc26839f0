import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { randomBytes } from "node:crypto";
import { z } from "zod";
import type { ActContent } from "../../shared/contract/content/acts.ts";
import { upsertMembers } from "../../shared/db/memberships/memberships.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { newId } from "../../shared/platform/ids.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { createAppserviceHomeserver } from "../../workers/matrix/homeserver/appservice-homeserver.ts";
import type { Homeserver } from "../../workers/matrix/homeserver/homeserver.ts";
import { connectTo } from "../../workers/matrix/http/client.ts";
import { MARKER } from "../../workers/matrix/marker.ts";
import { roomPath } from "../../workers/matrix/rooms/room-path.ts";
import { readTestSynapse } from "../support/stack-servers.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: Homeserver;
let room: Room;
beforeAll(async () => {
  const { url, serverName, asToken, registrationSecret } = readTestSynapse();
  place = await openWorkplace({ serverName });
  const connect = connectTo(url);
  homeserver = createAppserviceHomeserver({
    ...{ id: newId(), serverName, baseUrl: url, connect, asToken, registrationSecret },
  });
  room = await place.room(`group:acts-${randomBytes(4).toString("hex")}`, ["ada", "bob"]);
  await upsertMembers(place.db, place.tenantId, room.id, [
    { userId: await place.userId("mod"), role: "moderator" },
  ]);
});
afterAll(() => place.close());

async function drain(): Promise<void> {
  const key = { tenantId: place.tenantId, roomId: room.id };
  expect(await handleOutboundMessage(place.context(homeserver), key)).toEqual({ retryInMs: null });
}

async function say(user: string, text: string): Promise<string> {
  return (await place.accept(room, user, text))[0]?.id ?? "";
}

async function act(user: string, target: string, content: ActContent): Promise<string> {
  const acceptance = await place.act(room, user, target, content);
  if (acceptance.outcome !== "done") throw new Error(`not accepted: ${acceptance.outcome}`);
  return acceptance.id;
}

const page = z.object({
  chunk: z.array(
    z.object({
      ...{ event_id: z.string(), type: z.string(), sender: z.string() },
      content: z.record(z.string(), z.unknown()),
    }),
  ),
});
type Read = z.infer<typeof page>["chunk"][number];

async function observerId(): Promise<string> {
  const [row] = await place.sql<{ matrix_user_id: string }>(
    "select o.matrix_user_id from observers o join rooms r on r.observer_id = o.id where r.id = ?",
    [room.id],
  );
  return row?.matrix_user_id ?? "";
}

/** What people wrote and did in the Matrix room, oldest first. */
async function readRoom(): Promise<Read[]> {
  const [row] = await place.sql<{ matrix_room_id: string }>("select matrix_room_id from rooms where id = ?", [
    room.id,
  ]);
  const request = await homeserver.as(await observerId());
  const path = roomPath(row?.matrix_room_id ?? "", "messages");
  const answer = await request({ method: "GET", path, query: { dir: "f", limit: "200" } });
  return page.parse(answer).chunk.filter(({ type }) => /message|reaction|redaction/.test(type));
}

async function matrixIdOf(user: string): Promise<string> {
  const [row] = await place.sql<{ matrix_user_id: string }>("select matrix_user_id from users where id = ?", [
    await place.userId(user),
  ]);
  return row?.matrix_user_id ?? "";
}

test("people's acts reach a Synapse once, in the order accepted, under the right names, also after a crash", async () => {
  const message = await say("ada", "helo");
  await act("ada", message, {
    ...{ kind: "edit", of: "text", text: "hello", format: "plain", html: null },
    mentions: { users: [], room: false },
  });
  await act("bob", message, { kind: "reaction", key: "❤", raw: "❤\uFE0F" });
  const taken = await act("bob", message, { kind: "unreaction", key: "❤" });
  const again = await act("bob", message, { kind: "reaction", key: "❤" });
  await drain();
  const spam = await say("bob", "spam");
  await drain();
  const deleted = await act("ada", message, { kind: "deletion", reason: "wrong room" });
  const moderated = await act("mod", spam, { kind: "deletion", reason: "spam" });
  await drain();
  // A process dies before it marks what it has sent.
  await place.sql(
    "update messages set status = 'sending', event_id = null where room_id = ? and content ->> 'kind' = 'deletion'",
    [room.id],
  );
  await place.sql("update room_outbox set next_attempt_at = now() where room_id = ?", [room.id]);
  await drain();

  const events = await readRoom();

  const [ada, bob, observer] = [await matrixIdOf("ada"), await matrixIdOf("bob"), await observerId()];
  const marked = new Map(events.map((event) => [event.content[MARKER], event]));
  const eventOf = async (id: string) =>
    (await place.sql<{ event_id: string }>("select event_id from messages where id = ?", [id]))[0]?.event_id;
  expect(events.map(({ type, sender }) => [type.replace("m.room.", ""), sender])).toEqual([
    ["message", ada],
    ["message", ada],
    ["m.reaction", bob],
    ["redaction", bob],
    ["m.reaction", bob],
    ["message", bob],
    ["redaction", ada],
    ["redaction", ada],
    ["redaction", observer],
  ]);
  expect(events.slice(0, 3).map(({ content }) => content)).toEqual([{}, {}, {}]);
  expect(events[4]?.content["m.relates_to"]).toMatchObject({ key: "❤", event_id: events[0]?.event_id });
  expect(marked.get(taken)?.content).toMatchObject({ redacts: events[2]?.event_id });
  expect(marked.get(deleted)?.content).toMatchObject({ redacts: events[0]?.event_id, reason: "wrong room" });
  expect(marked.get(moderated)?.content).toMatchObject({ redacts: events[5]?.event_id, reason: "spam" });
  expect(marked.get(again)).toBe(events[4]);
  expect([await eventOf(deleted), await eventOf(moderated)]).toEqual([
    events[7]?.event_id,
    events[8]?.event_id,
  ]);
});
