import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { Role } from "../../shared/contract/roles.ts";
import type { RemovalRow } from "../../shared/db/memberships/removals.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { findRoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import { applySyncPlan } from "../../workers/inbound/apply-plan.ts";
import { planSync } from "../../workers/inbound/sync-plan.ts";
import { handleMembership } from "../../workers/jobs/membership.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { MatrixFailure } from "../../workers/matrix/http/failure.ts";
import { diagnoseRoom, repairRoom } from "../../workers/reconcile/diagnose-room.ts";
import { isRemovalHere } from "../../workers/reconcile/removals/settle-removal.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

describe("a removal on Matrix", () => {
  const of = (actor: Role | null, role: Role, more: Partial<RemovalRow> = {}): RemovalRow => ({
    kind: "group",
    role,
    isMember: true,
    isSettled: false,
    isOlderThanMembership: false,
    actor: actor && { id: "ada", user: "ada", standing: `everyone ${actor}` },
    ...more,
  });

  test.each([
    ["owner", "admin"],
    ["admin", "moderator"],
    ["moderator", "speaker"],
    ["moderator", "member"],
    ["moderator", "guest"],
  ] as const)("by a member who is %s removes a member who is %s", (actor, role) => {
    expect(isRemovalHere(of(actor, role))).toBe(true);
  });

  test.each([
    ["by a member who is moderator of an equal", of("moderator", "moderator")],
    ["by a member who is moderator of one above", of("moderator", "owner")],
    ["by a member who is speaker", of("speaker", "guest")],
    ["by somebody who is no member", of(null, "member")],
    ["in a direct room", of("owner", "member", { kind: "direct" })],
    ["of somebody who is no member", of("owner", "member", { isMember: false })],
    ["that was settled before", of("owner", "member", { isSettled: true })],
    ["of somebody whom the tenant added after it", of("owner", "member", { isOlderThanMembership: true })],
  ])("%s removes nobody", (_, removal) => {
    expect(isRemovalHere(removal)).toBe(false);
  });
});

describe("a ban", () => {
  let place: Workplace;
  let homeserver: FakeHomeserver;
  let room: Room;
  let ids: { ada: string; bob: string; observer: string };
  let count = 0;
  const BAN = "$ban";
  beforeAll(async () => {
    place = await openWorkplace();
  });
  beforeEach(async () => {
    homeserver = new FakeHomeserver();
    homeserver.answer(/\/sync$/, { next_batch: "s9" }, { isKept: true });
    room = await place.room(`group:bans-${++count}`, ["ada", "bob"]);
    await place.sql("update rooms set matrix_room_id = id where id = ?", [room.id]);
    await place.sql("update memberships set applied = 'in', updated_at = '2026-01-01' where room_id = ?", [
      room.id,
    ]);
    await place.sql("update users set applied_version = 1");
    const role = "update memberships set role = 'moderator' where room_id = ? and user_id = ?";
    await place.sql(role, [room.id, await place.userId("ada")]);
    const [row] = await place.sql<typeof ids>(
      `select (select matrix_user_id from users where external_id = 'ada') as ada,
              (select matrix_user_id from users where external_id = 'bob') as bob,
              (select matrix_user_id from observers) as observer`,
    );
    if (!row) throw new Error("a user has no row");
    ids = row;
  });
  afterAll(() => place.close());

  const LATER = Date.UTC(2_030, 0, 1);
  const memberEvent = (sender: string, membership: string, eventId = BAN) => ({
    event_id: eventId,
    type: "m.room.member",
    sender,
    state_key: ids.bob,
    origin_server_ts: LATER,
    content: { membership },
  });

  /** Matrix shows what somebody made bob's membership. */
  function show(sender: string, membership = "ban"): void {
    const path = new RegExp(`state/m.room.member/${encodeURIComponent(ids.bob)}$`);
    homeserver.answer(path, memberEvent(sender, membership), { isKept: true });
  }

  /** The next such call is refused. */
  function refuse(call: "send/" | "invite" | "unban" | "kick", errcode: "M_FORBIDDEN" | "M_BAD_STATE"): void {
    homeserver.fail(new RegExp(`/${call}`), new MatrixFailure("forbidden", { errcode, httpStatus: 403 }));
  }

  /** The observer reads the event. */
  async function read(sender: string, membership = "ban"): Promise<void> {
    const userIds = new Map([
      [ids.bob, await place.userId("bob")],
      [ids.ada, await place.userId("ada")],
    ]);
    const facts = {
      observerMatrixId: ids.observer,
      userIds,
      ...{ names: new Map(), people: new Map(), roomMentioners: new Set<string>(), answered: new Map() },
      messages: new Map(),
      messagesByEvent: new Map(),
      redactedStates: new Map(),
      redacted: new Map(),
      waiting: [],
      tenantId: place.tenantId,
    };
    const events = [memberEvent(sender, membership)];
    const plan = planSync([{ roomId: room.id, matrixRoomId: room.id, events }], facts);
    await applySyncPlan(place.db, { require: { sql: "select 1", bindings: [] }, plan, also: [] });
  }

  const key = () => ({ tenantId: place.tenantId, roomId: room.id });
  const converge = () => handleMembership(place.context(homeserver), key());
  const drain = () => handleOutboundMessage(place.context(homeserver), key());
  const unbans = () => homeserver.calls.filter(({ path }) => path.endsWith("/unban"));
  const bob = async () => {
    const [row] = await place.sql(
      `select s.desired, s.is_banned as "isBanned", s.removal_event_id as due from memberships s
         join users u on u.id = s.user_id where s.room_id = ? and u.external_id = 'bob'`,
      [room.id],
    );
    return row;
  };
  const messages = () =>
    place.sql("select status, error_code as code, attempts from messages where room_id = ?", [room.id]);

  test.each([
    ["is on Matrix", "in", "send/", "M_FORBIDDEN"],
    ["is not on Matrix yet", "out", "invite", "M_BAD_STATE"],
  ] as const)(
    "of a member who %s, that nobody has read yet, is undone before the member's message, in the same attempt",
    async (_, applied, call, errcode) => {
      await place.sql("update memberships set applied = ? where room_id = ?", [applied, room.id]);
      await place.accept(room, "bob", "hello");
      show("@operator:test");
      refuse(call, errcode);
      await drain();
      expect(unbans()).toHaveLength(1);
      expect(await messages()).toEqual([{ status: "sent", code: null, attempts: 0 }]);
      expect(await bob()).toEqual({ desired: "in", isBanned: false, due: null });
    },
  );

  test("by a moderator that nobody has read yet removes the member before the member's message is sent", async () => {
    await place.accept(room, "bob", "hello");
    show(ids.ada);
    refuse("send/", "M_FORBIDDEN");
    await drain();
    expect(unbans()).toEqual([]);
    expect(await messages()).toEqual([{ status: "dead", code: "sender_removed", attempts: 0 }]);
    expect(await bob()).toEqual({ desired: "out", isBanned: true, due: null });
  });

  test("that the homeserver does not let the observer end leaves the message waiting, however often it is tried", async () => {
    await place.accept(room, "bob", "hello");
    show("@operator:test");
    for (let attempt = 0; attempt < 5; attempt++) {
      refuse("send/", "M_FORBIDDEN");
      refuse("unban", "M_FORBIDDEN");
      await drain();
      await place.sql("update room_outbox set next_attempt_at = now() where room_id = ?", [room.id]);
    }
    expect(unbans()).toHaveLength(5);
    expect(await messages()).toMatchObject([{ status: "sending", code: null }]);
  });

  test("that is read twice removes the member once: who was added again after it stays", async () => {
    show(ids.ada);
    await read(ids.ada);
    await converge();
    expect(await bob()).toEqual({ desired: "out", isBanned: true, due: null });
    const added =
      "update memberships set desired = 'in', version = version + 1 where room_id = ? and user_id = ?";
    await place.sql(added, [room.id, await place.userId("bob")]);
    await read(ids.ada);
    await converge();
    expect(unbans()).toHaveLength(1);
    expect(await bob()).toEqual({ desired: "in", isBanned: false, due: null });
  });

  test("of a person before the tenant adds the person is undone with the adding", async () => {
    const bobId = await place.userId("bob");
    await place.sql(
      "update memberships set desired = 'out', applied = 'out' where room_id = ? and user_id = ?",
      [room.id, bobId],
    );
    show(ids.ada);
    await read(ids.ada);
    expect(await bob()).toEqual({ desired: "out", isBanned: true, due: null });
    await place.sql("update memberships set desired = 'in' where room_id = ? and user_id = ?", [
      room.id,
      bobId,
    ]);
    await converge();
    expect(unbans()).toHaveLength(1);
    expect(await bob()).toEqual({ desired: "in", isBanned: false, due: null });
  });

  test("of a member whom the tenant removes at the same time does not stop the removal", async () => {
    await place.sql(
      "update memberships set desired = 'out', version = version + 1 where room_id = ? and user_id = ?",
      [room.id, await place.userId("bob")],
    );
    refuse("kick", "M_BAD_STATE");
    expect(await converge()).toEqual({ retryInMs: null });
  });

  test("is a difference that a repair ends, no matter who banned the member", async () => {
    const facts = await findRoomSnapshot(place.db, place.tenantId, room.id);
    if (!facts) throw new Error("no room");
    const chunk = [memberEvent(ids.ada, "ban")];
    homeserver.answer(/\/members$/, { chunk }, { isKept: true });
    homeserver.answer(/\/joined_members$/, { joined: { [ids.observer]: {}, [ids.ada]: {} } });
    const differences = await diagnoseRoom(place.db, homeserver, facts);
    expect(differences).toContainEqual({ what: "member is banned", wanted: "in", found: "bob", event: BAN });
    expect(differences.map(({ what }) => what)).not.toContain("member should be in");
    await repairRoom(place.db, room.id, differences);
    show(ids.ada);
    await converge();
    expect(unbans()).toHaveLength(1);
    expect(await bob()).toEqual({ desired: "in", isBanned: false, due: null });
  });
});
