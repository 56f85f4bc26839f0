import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { z } from "zod";
import { openApiWorld, type ApiWorld, type Ask, type Reply, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;
let ada: Ask;
let bob: Ask;
beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("retry");
  [ada, bob] = await Promise.all([tenant.user("ada"), tenant.user("bob")]);
});
afterAll(() => world.close());

let rooms = 0;
/** A message of ada that died for a reason; null: it did not. */
async function begin(code: string | null): Promise<{ id: string; retry: string; room: string }> {
  const slug = `again-${String(++rooms)}`;
  const members = [{ user: "ada" }, { user: "bob" }];
  await tenant.server("PUT", `/v1/rooms/group/${slug}`, { body: { name: slug, members } });
  const path = `/v1/rooms/group/${slug}/messages`;
  const answer = await ada("POST", path, { body: { text: "hello" } });
  const { id } = z.object({ id: z.uuid() }).parse(answer.body);
  if (code !== null)
    await world.db.raw("update messages set status = 'dead', open = false, error_code = ? where id = ?", [
      code,
      id,
    ]);
  return { id, retry: `${path}/${id}/retry`, room: slug };
}

const codeOf = ({ status, body }: Reply) => [status, (body as { code?: string }).code];
async function isWanted(id: string): Promise<unknown> {
  const { rows } = await world.db.raw<{ rows: { wanted: boolean }[] }>(
    `select m.retry_wanted and o.next_attempt_at <= now() as wanted
       from messages m join room_outbox o using (room_id) where m.id = ?`,
    [id],
  );
  return rows[0]?.wanted;
}

test.each(["unanswered", "expired", "forbidden", "room_gone"])(
  "the sender has a message sent again that is dead as %s",
  async (code) => {
    const { id, retry } = await begin(code);
    const answer = await ada("POST", retry);
    expect(answer.status).toBe(202);
    expect(answer.body).toMatchObject({ id, status: "dead", error: { code } });
    expect(answer.headers.get("location")).toBe(retry.replace("/retry", ""));
    expect(await isWanted(id)).toBe(true);
  },
);

test.each(["refused", "sender_removed", "deleted"])("a message that is dead as %s stays so", async (code) => {
  const { id, retry } = await begin(code);
  expect(codeOf(await ada("POST", retry))).toEqual([409, "conflict"]);
  expect(await isWanted(id)).toBe(false);
});

test("a message that is not dead is returned as it is", async () => {
  const { id, retry } = await begin(null);
  const answer = await ada("POST", retry);
  expect([answer.status, (answer.body as { status: string }).status]).toEqual([200, "queued"]);
  expect(await isWanted(id)).toBe(false);
});

test("nobody but the sender has a message sent again, and people outside learn nothing", async () => {
  const { id, retry } = await begin("expired");
  const eve = await tenant.user("eve");
  expect(codeOf(await bob("POST", retry))).toEqual([403, "forbidden"]);
  expect(codeOf(await eve("POST", retry))).toEqual([404, "not_found"]);
  expect(codeOf(await ada("POST", retry.replace(id, "01a22f1b-40fc-74af-9dd7-68351359315d")))).toEqual([
    404,
    "not_found",
  ]);
  expect(await isWanted(id)).toBe(false);
});
