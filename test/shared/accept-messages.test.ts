import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { acceptMessages, type NewMessage } from "../../shared/db/messages.ts";
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
  return { tenantId: tenant.row.id, user: "ada", room, text, clientId: null, requestHash: null, ...more };
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
    message("a", "6", { user: "stranger" }),
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

test("only the first message of an idle room asks for it to be woken: who is woken sends the rest", async () => {
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
