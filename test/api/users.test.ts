import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { deleteUser } from "../../api/mutations/delete-user.ts";
import { Room } from "../../shared/db/rooms/rooms.ts";
import { User } from "../../shared/db/users/users.ts";
import { openApiWorld, type ApiWorld, type TestTenant } from "../support/api.ts";
import { until } from "../support/wait.ts";

let world: ApiWorld;
let tenant: TestTenant;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("users");
});
afterAll(() => world.close());

test("a new user is pending and has a location", async () => {
  const made = await tenant.server("PUT", "/v1/users/Ada.L@x", { body: { displayName: "Ada" } });
  expect(made.status).toBe(202);
  expect(made.headers.get("location")).toBe("/v1/users/Ada.L%40x");
  expect(made.body).toEqual({
    user: "Ada.L@x",
    displayName: "Ada",
    avatar: null,
    status: "pending",
    createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
  });
  const read = await tenant.server("GET", "/v1/users/Ada.L%40x");
  expect(read).toMatchObject({ status: 200, body: made.body });
});

test("a repeated request for a user returns 200, and a changed one makes the user pending again", async () => {
  await tenant.server("PUT", "/v1/users/ready", { body: { displayName: "R" } });
  await world.db.raw(
    "update users set status = 'ready', applied_version = desired_version where external_id = 'ready'",
  );
  expect((await tenant.server("PUT", "/v1/users/ready", { body: { displayName: "R" } })).status).toBe(200);
  const changed = await tenant.server("PUT", "/v1/users/ready", { body: { displayName: "S" } });
  expect(changed).toMatchObject({ status: 202, body: { displayName: "S", status: "pending" } });
  expect((await User.query(world.db).findOne({ external_id: "ready" }))?.next_attempt_at).not.toBeNull();
});

test("a PUT of a user without a body makes a user who does not exist, and changes no other one", async () => {
  const fields = { displayName: "Kim", avatar: "https://example.org/kim.png" };
  await tenant.server("PUT", "/v1/users/kept", { body: fields });
  expect(await tenant.server("PUT", "/v1/users/kept")).toMatchObject({ status: 202, body: fields });
  expect(await tenant.server("PUT", "/v1/users/kept", { raw: "" })).toMatchObject({ body: fields });
  expect(await tenant.server("PUT", "/v1/users/bodiless")).toMatchObject({
    status: 202,
    body: { user: "bodiless", displayName: null, avatar: null },
  });
  expect(await tenant.server("PUT", "/v1/users/kept", { body: {} })).toMatchObject({
    body: { displayName: null, avatar: null },
  });
});

test("a PATCH of a user changes the fields that it names, clears those that are null and leaves the others", async () => {
  const avatar = "https://example.org/pat.png";
  await tenant.server("PUT", "/v1/users/pat", { body: { displayName: "Pat", avatar } });
  await world.db.raw(
    "update users set status = 'ready', applied_version = desired_version where external_id = 'pat'",
  );
  const patch = (body: object, type = "application/merge-patch+json") =>
    tenant.server("PATCH", "/v1/users/pat", { body, headers: { "content-type": type } });
  expect(await patch({})).toMatchObject({ status: 200, body: { displayName: "Pat", avatar } });
  const renamed = await patch({ displayName: "Pat B." });
  expect(renamed).toMatchObject({ status: 202, body: { displayName: "Pat B.", avatar, status: "pending" } });
  expect(renamed.headers.get("location")).toBe("/v1/users/pat");
  expect(await patch({ avatar: null }, "application/json")).toMatchObject({
    body: { displayName: "Pat B.", avatar: null },
  });
  expect(await patch({ displayName: "" })).toMatchObject({ status: 422 });
  expect(await patch({ user: "other" })).toMatchObject({ status: 422 });
  expect((await tenant.server("PATCH", "/v1/users/pat")).status).toBe(415);
  const unknown = await tenant.server("PATCH", "/v1/users/nobody", { body: { displayName: "N" } });
  expect(unknown).toMatchObject({ status: 404, body: { code: "not_found" } });
});

test("a caller that prefers to wait gets the answer when the account is ready", async () => {
  await tenant.server("PUT", "/v1/users/slow");
  const waiting = tenant.server("PUT", "/v1/users/slow", { headers: { prefer: "wait=10" } });
  await world.db.raw(
    "update users set status = 'ready', applied_version = desired_version where external_id = 'slow'",
  );
  const answer = await waiting;
  expect(answer).toMatchObject({ status: 200, body: { status: "ready" } });
  expect(answer.headers.get("preference-applied")).toBe("wait=10");
});

test("a hundred requests for one user make one", async () => {
  const replies = await Promise.all(
    Array.from({ length: 100 }, () => tenant.server("PUT", "/v1/users/many", { body: { displayName: "C" } })),
  );
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([202]));
  expect(await User.query(world.db).where({ external_id: "many" }).resultSize()).toBe(1);
});

test("deleting a user ends the memberships, makes queued messages dead and frees the name for another account", async () => {
  const body = { name: "R", members: [{ user: "gone" }, { user: "stays" }] };
  await tenant.server("PUT", "/v1/rooms/group/left", { body });
  await (
    await tenant.user("gone")
  )("POST", "/v1/rooms/group/left/messages", { body: { text: "never sent" } });
  const before = await User.query(world.db).findOne({ external_id: "gone" }).throwIfNotFound();
  expect(await tenant.server("DELETE", "/v1/users/gone")).toMatchObject({
    status: 200,
    body: { user: "gone" },
  });
  expect(await tenant.server("GET", "/v1/users/gone")).toMatchObject({ status: 404 });
  expect(await tenant.server("GET", "/v1/rooms/group/left")).toMatchObject({
    body: { members: 1, offset: 5 },
  });
  const { rows } = await world.db.raw<{ rows: unknown[] }>(
    "select status, open, error_code from messages where sender_id = ?",
    [before.id],
  );
  expect(rows).toEqual([{ status: "dead", open: false, error_code: "sender_removed" }]);
  const after = await User.query(world.db).findById(before.id).throwIfNotFound();
  expect(after.deleted_at).not.toBeNull();
  expect(after.next_attempt_at).not.toBeNull();
  await tenant.server("PUT", "/v1/users/gone");
  const again = await User.query(world.db)
    .findOne({ external_id: "gone", deleted_at: null })
    .throwIfNotFound();
  expect(again.matrix_user_id).not.toBe(before.matrix_user_id);
});

describe("a direct room", () => {
  const direct = "/v1/rooms/direct";
  /** Makes a direct room with a message of each. Returns its path. */
  async function converse(users: [string, string]): Promise<string> {
    await tenant.server("PUT", direct, { body: { users } });
    const room = `${direct}/${[...users].sort().join("~")}`;
    for (const user of users) {
      const said = await (
        await tenant.user(user)
      )("POST", `${room}/messages`, { body: { text: `by ${user}` } });
      expect(said.status).toBe(202);
    }
    return room;
  }
  const signedFor = async (user: string) => {
    const { body } = await tenant.server("POST", `/v1/users/${user}/tokens`);
    return world.as((body as { token: string }).token);
  };

  test.each<[string, (pair: [string, string], room: string) => Promise<unknown>]>([
    ["the first of its people is deleted", ([one]) => tenant.server("DELETE", `/v1/users/${one}`)],
    ["the second of its people is deleted", ([, two]) => tenant.server("DELETE", `/v1/users/${two}`)],
    [
      "one of its people is deleted who had been removed from it",
      async ([one], room) => {
        await tenant.server("DELETE", `${room}/members/${one}`);
        return tenant.server("DELETE", `/v1/users/${one}`);
      },
    ],
    [
      "both of its people are deleted",
      async ([one, two]) => {
        await tenant.server("DELETE", `/v1/users/${one}`);
        return tenant.server("DELETE", `/v1/users/${two}`);
      },
    ],
  ])("ends when %s, and made again it is a new generation with an empty history", async (title, end) => {
    const name = title.replace(/\W+/g, ".");
    const pair: [string, string] = [`${name}.a`, `${name}.b`];
    const room = await converse(pair);
    const before = await Room.query(world.db)
      .findOne({ slug: pair.join("~") })
      .throwIfNotFound();
    const { epoch } = (await tenant.server("GET", room)).body as { epoch: string };
    await end(pair, room);

    expect((await tenant.server("GET", room)).status).toBe(404);
    const ended = await Room.query(world.db).findById(before.id).throwIfNotFound();
    expect([ended.deleted_at, ended.next_attempt_at]).toEqual([expect.any(Date), expect.any(Date)]);
    expect(await world.db("memberships").where({ room_id: before.id, desired: "in" })).toEqual([]);
    expect(await world.db("messages").where({ room_id: before.id, open: true })).toEqual([]);

    await tenant.server("PUT", direct, { body: { users: pair } });
    expect((await tenant.server("GET", room)).body).toMatchObject({
      members: 2,
      epoch: expect.not.stringMatching(epoch),
    });
    for (const user of pair) {
      const ask = await signedFor(user);
      expect((await ask("GET", `${room}/messages`)).body).toMatchObject({ items: [], pending: [] });
      expect((await ask("GET", "/v1/me/rooms")).body).toMatchObject({
        items: [{ lastMessage: null, unread: 0 }],
      });
    }
    const generations = await world
      .db("rooms")
      .where({ slug: pair.join("~") })
      .orderBy("generation")
      .pluck("generation");
    expect(generations).toEqual([1, 2]);
  });

  test("that version 0.1.0 left with a deleted user is not continued with the next user of the name", async () => {
    const pair: [string, string] = ["left.a", "left.b"];
    const room = await converse(pair);
    const [{ id } = { id: "" }] = await world
      .db<User>("users")
      .where({ tenant_id: tenant.row.id, external_id: "left.a" })
      .update({ deleted_at: new Date() })
      .returning("id");
    await world.db("memberships").where({ user_id: id }).update({ desired: "out" });
    await tenant.server("PUT", "/v1/users/left.a");

    expect((await tenant.server("PUT", `${room}/members/left.a`)).status).toBe(404);
    expect((await tenant.server("PUT", direct, { body: { users: pair } })).status).toBe(202);
    for (const user of pair)
      expect((await (await signedFor(user))("GET", `${room}/messages`)).body).toMatchObject({
        items: [],
        pending: [],
      });
    expect((await tenant.server("PUT", `${room}/members/left.a`)).status).toBe(202);
  });

  test("of others stays when a user is deleted, and so does an event's room", async () => {
    await converse(["stay.a", "stay.b"]);
    await tenant.server("PUT", "/v1/rooms/event/stays", {
      body: { name: "E", members: [{ user: "leaves" }] },
    });
    await tenant.server("DELETE", "/v1/users/leaves");
    for (const room of ["/v1/rooms/direct/stay.a~stay.b", "/v1/rooms/event/stays"])
      expect((await tenant.server("GET", room)).status).toBe(200);
  });
});

test("deleting a user with messages in many rooms takes as many statements as with one room", async () => {
  const statementsFor = async (user: string, rooms: number) => {
    const ask = await tenant.user(user);
    for (let index = 0; index < rooms; index++) {
      const path = `/v1/rooms/group/${user}-${index}`;
      await tenant.server("PUT", path, { body: { name: "R", members: [{ user }] } });
      await ask("POST", `${path}/messages`, { body: { text: "queued" } });
    }
    const statements: string[] = [];
    const note = ({ sql }: { sql: string }) => statements.push(sql);
    world.db.on("query", note);
    const sideEffects = await deleteUser(world.db, tenant.row.id, user);
    world.db.off("query", note);
    const published = (sideEffects ?? []).flatMap((one) =>
      one.type === "publishTimeline" ? one.roomId : [],
    );
    expect(new Set(published).size).toBe(rooms);
    return statements.length;
  };
  expect(await statementsFor("everywhere", 6)).toBe(await statementsFor("in-two", 2));
});

test("a user who is deleted during a change is made again", async () => {
  await tenant.server("PUT", "/v1/users/raced", { body: { displayName: "Old" } });
  let changing: Promise<{ status: number; body: unknown }> | undefined;
  await world.db.transaction(async (trx) => {
    await trx.raw("update users set deleted_at = now() where tenant_id = ? and external_id = 'raced'", [
      tenant.row.id,
    ]);
    changing = tenant.server("PUT", "/v1/users/raced", { body: { displayName: "New" } });
    await until(async () => {
      const { rows } = await world.db.raw<{ rows: unknown[] }>(
        "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      return rows.length > 0;
    }, "the change waits for the deletion");
  });
  expect(await changing).toMatchObject({ status: 202, body: { user: "raced", displayName: "New" } });
});

test("deleting an unknown user succeeds", async () => {
  expect(await tenant.server("DELETE", "/v1/users/missing")).toMatchObject({ status: 200, body: null });
});

test("a token gives access to the user's rooms for the requested time", async () => {
  await tenant.server("PUT", "/v1/users/tess");
  const signed = await tenant.server("POST", "/v1/users/tess/tokens", { body: { expiresInS: 120 } });
  expect(signed.status).toBe(200);
  const { token, expiresAt } = signed.body as { token: string; expiresAt: string };
  expect(Math.abs(Date.parse(expiresAt) - Date.now() - 120_000)).toBeLessThan(5_000);
  expect(await world.as(token)("GET", "/v1/me/rooms")).toMatchObject({
    status: 200,
    body: { items: [], next: null },
  });
  expect((await tenant.server("POST", "/v1/users/unknown/tokens")).status).toBe(404);
});
