import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { readGrants } from "../../shared/db/memberships/subscription-rights.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { newFence } from "../../shared/platform/ids.ts";
import { openParts, type Parts, type Person } from "../support/realtime-parts.ts";
import { openWorld, type World } from "../support/realtime.ts";
import { waitFor } from "../support/centrifuge.ts";

let world: World;
let parts: Parts;
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 4 });
});
afterEach(() => {
  parts.close();
});
afterAll(() => world.close());

/** Subscribes a person to a room; `hold` delays the result of each reading of the rights. */
function begin(room: Room, person: Person, hold: (reading: number) => Promise<void> = async () => undefined) {
  let readings = 0;
  const outcome = parts.subscribe(room, person, async () => {
    const rows = await readGrants(world.db, person.id, [room.id]);
    await hold(++readings);
    return rows;
  });
  return { outcome, readings: () => readings };
}

/** Begins, and holds the result of the first reading until `release`. */
async function beginAndHold(...[room, person]: Parameters<typeof begin>) {
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  const held = begin(room, person, (reading) => (reading === 1 ? released : Promise.resolve()));
  await waitFor(() => held.readings() === 1);
  return { ...held, release };
}

test("a user who is removed during a subscription receives nothing, even when another user opens the room at a position after the removal", async () => {
  const room = await world.room("group:late", ["ada", "bob"]);
  await world.say(room, "1", "2", "3", "4");
  parts = await openParts(world);
  const [ada, bob] = [await parts.person("ada"), await parts.person("bob")];
  const bobs = await beginAndHold(room, bob);

  await world.remove(room, "bob", { isPublished: false });
  expect(await begin(room, ada).outcome).toMatchObject({ result: { offset: 5 } });
  await world.publish(room);
  bobs.release();

  expect(await bobs.outcome).toMatchObject({ refusal: "denied" });
  await world.say(room, "6");
  await waitFor(() => ada.received().length === 1);
  expect(bob.received()).toEqual([]);
});

test("rights of a past epoch are read again, and a user who has them is subscribed", async () => {
  const room = await world.room("group:epochs", ["ada", "bob"]);
  await world.say(room, "1");
  parts = await openParts(world);
  const [ada, bob] = [await parts.person("ada"), await parts.person("bob")];
  const bobs = await beginAndHold(room, bob);

  const epoch = newFence();
  await world.db("room_timeline").where({ room_id: room.id }).update({ epoch });
  expect(await begin(room, ada).outcome).toMatchObject({ result: { epoch } });
  bobs.release();

  expect(await bobs.outcome).toMatchObject({ result: { epoch, offset: 1 } });
  expect(bobs.readings()).toBe(2);
});

test("rights that are as recent as the room's position are read once", async () => {
  const room = await world.room("group:once", ["ada", "bob"]);
  await world.say(room, "1");
  parts = await openParts(world);
  for (const name of ["ada", "bob"]) {
    const asked = begin(room, await parts.person(name));
    expect(await asked.outcome).toMatchObject({ result: { offset: 1 } });
    expect(asked.readings()).toBe(1);
  }
});
