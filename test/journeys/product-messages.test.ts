import { expect, test } from "@jest/globals";
import { readMessage } from "../../shared/contract/resources.ts";
import { roomPath } from "../support/journey/clients.ts";
import { messagesOf, useJourney } from "../support/journey/journey.ts";

const journey = useJourney();

test("what the product says is once in the room, on every socket and on Matrix, sent by the observer", async () => {
  const { tenant, synapse } = journey;
  const room = "event:spoken";
  const [ada] = await tenant.people("ada");
  await tenant.server.putRoom(room, { members: [{ user: "ada" }] });
  const socket = await tenant.socket(ada);
  const path = roomPath(room, "/messages");

  const said = await tenant.server.expect(readMessage, "POST", path, {
    body: { text: "Doors open at seven", clientId: "doors" },
    headers: { prefer: "wait=20" },
  });
  const answer = await ada.say(room, "See you there", { waitS: 20 });
  await tenant.settled(room);
  await tenant.server.expect(readMessage, "POST", path, {
    body: { text: "Doors open at seven", clientId: "doors" },
  });

  expect(said).toMatchObject({ status: "sent", kind: "notice", sender: { user: null, displayName: "acme" } });
  const [observer, matrixRoomId] = [await tenant.observer(), await tenant.matrixRoomId(room)];
  expect(await synapse.texts(observer, matrixRoomId)).toEqual([
    { sender: observer, body: "Doors open at seven" },
    { sender: await tenant.matrixUserId("ada"), body: "See you there" },
  ]);
  await socket.waitFor("both messages are received", () => socket.texts(room).includes("See you there"));
  expect(messagesOf(socket.in(room)).map(({ id }) => id)).toEqual([said.id, answer.id]);
  expect((await ada.read(room)).items.map(({ id, status }) => ({ id, status }))).toEqual([
    { id: said.id, status: "sent" },
    { id: answer.id, status: "sent" },
  ]);
});
