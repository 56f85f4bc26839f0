import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { openApiWorld, type ApiWorld, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;

beforeAll(async () => {
  // Nothing listens there: the API starts without Redis.
  world = await openApiWorld({ redisUrl: "redis://127.0.0.1:1/0" });
  tenant = await world.tenant("no-redis");
});
afterAll(() => world.close());

test("a message is accepted in less than half a second without Redis, and stored", async () => {
  await tenant.server("PUT", "/v1/rooms/group/kept", { body: { name: "Kept", members: [{ user: "ada" }] } });
  const ada = await tenant.user("ada");
  for (let index = 0; index < 5; index++) {
    const startMs = performance.now();
    const reply = await ada("POST", "/v1/rooms/group/kept/messages", { body: { text: `m${index}` } });
    expect(reply.status).toBe(202);
    expect(performance.now() - startMs).toBeLessThan(500);
  }
  const { rows } = await world.db.raw<{ rows: { next_attempt_at: Date | null }[] }>(
    "select o.next_attempt_at from room_outbox o join rooms r on r.id = o.room_id where r.slug = 'kept'",
  );
  expect(rows[0]?.next_attempt_at).not.toBeNull();
});

test("the API is ready without Redis, and names what is missing", async () => {
  expect(await world.as(null)("GET", "/readyz")).toMatchObject({
    status: 200,
    body: {
      ready: true,
      degraded: [
        {
          code: "redis_down",
          severity: "critical",
          detail: "Redis does not answer.",
          since: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        },
      ],
    },
  });
  expect(await world.as(null)("GET", "/livez")).toMatchObject({ status: 200 });
  expect((await world.as(null)("GET", "/metrics")).body).toContain("omc_messages_accepted_total 5");
});

test("the operators' page fails at once without Redis", async () => {
  const { key } = await tenant.key("operator");
  expect(await world.as(key)("GET", "/admin/queues/api/queues")).toMatchObject({
    status: 503,
    body: { code: "unavailable" },
  });
});
