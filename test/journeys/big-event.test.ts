import { expect, test } from "@jest/globals";
import { useJourney } from "../support/journey/journey.ts";

const journey = useJourney();
const LIMIT_MS = 180_000;
const MEMBERS = 2_000;
const AT_ONCE = 500;
const ROOM = "event:conference";
/** Generous: the machine may be busy. */
const AT_ONCE_MS = 5_000;
const USABLE_MS = 20_000;

/** Who is in the room on Matrix. */
async function joinedOnMatrix(): Promise<string[]> {
  const { tenant, synapse } = journey;
  return synapse.joinedMembers(await tenant.observer(), await tenant.matrixRoomId(ROOM));
}

test(
  "an event with 2,000 members is answered at once, is one room on Matrix, and joins there only those who write",
  async () => {
    const { tenant, synapse } = journey;
    const people = Array.from({ length: MEMBERS - 3 }, (_, index) => ({ user: `guest-${String(index)}` }));
    const [ada, bob, cy] = await tenant.people("ada", "bob", "cy");
    const before = await synapse.joinedRooms(await tenant.observer());
    const startMs = performance.now();
    await tenant.server.putRoom(ROOM, {
      members: [{ user: "ada", role: "owner" }, { user: "bob" }, { user: "cy" }],
    });
    for (let from = 0; from < people.length; from += AT_ONCE) {
      const askedMs = performance.now();
      await tenant.server.putMembers(ROOM, people.slice(from, from + AT_ONCE));
      expect(performance.now() - askedMs).toBeLessThan(AT_ONCE_MS);
    }
    expect((await tenant.server.room(ROOM)) as { members?: number }).toMatchObject({ members: MEMBERS });

    const [socket, other] = [await tenant.socket(bob), await tenant.socket(cy)];
    await ada.say(ROOM, "welcome", { waitS: 20 });
    await Promise.all(
      [socket, other].map((each) =>
        each.waitFor("the first message", () => each.texts(ROOM).includes("welcome")),
      ),
    );
    expect(performance.now() - startMs).toBeLessThan(USABLE_MS + (MEMBERS / AT_ONCE) * AT_ONCE_MS);
    await tenant.settled(ROOM);

    const after = await synapse.joinedRooms(await tenant.observer());
    expect(after.filter((id) => !before.includes(id))).toEqual([await tenant.matrixRoomId(ROOM)]);
    expect((await joinedOnMatrix()).toSorted()).toEqual(
      [await tenant.observer(), await tenant.matrixUserId("ada")].toSorted(),
    );
    const [accounts] = await journey.sql<{ joined: number; invited: number }>(
      `select count(*) filter (where s.applied = 'in') as joined, count(*) as invited
         from memberships s join rooms r on r.id = s.room_id where r.slug = 'conference'`,
    );
    expect(accounts).toEqual({ joined: 1, invited: MEMBERS });
  },
  LIMIT_MS,
);

test(
  "identical texts of two people in the same second are both shown, in one order on every device, on Matrix too",
  async () => {
    const { tenant, synapse } = journey;
    const room = "group:same-words";
    const [ada, bob] = await tenant.people("ada", "bob");
    await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob" }] });
    const devices = await Promise.all([ada, ada, bob, bob].map((person) => tenant.socket(person)));
    const said = await Promise.all([
      ada.say(room, "Congratulations!", { waitS: 20 }),
      bob.say(room, "Congratulations!", { waitS: 20 }),
    ]);
    const order = said.toSorted((one, two) => (one.number ?? 0) - (two.number ?? 0)).map(({ id }) => id);
    expect(new Set(order).size).toBe(2);
    for (const device of devices) {
      await device.waitFor("both are received", () => device.texts(room).length === 2);
      const ids = device.in(room).flatMap(({ data }) => (data.type === "message.created" ? [data.id] : []));
      expect(ids).toEqual(order);
    }
    expect((await bob.read(room)).items.map(({ id }) => id)).toEqual(order);
    await tenant.settled(room);
    const onMatrix = await synapse.texts(await tenant.observer(), await tenant.matrixRoomId(room));
    const senders = said
      .toSorted((one, two) => (one.number ?? 0) - (two.number ?? 0))
      .map(({ sender }) => sender.user ?? "");
    expect(onMatrix).toMatchObject(
      await Promise.all(
        senders.map(async (user) => ({ sender: await tenant.matrixUserId(user), body: "Congratulations!" })),
      ),
    );
    expect(onMatrix).toHaveLength(2);
  },
  LIMIT_MS,
);
