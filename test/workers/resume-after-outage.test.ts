import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { resumeAfterOutage } from "../../workers/runtime/resume-after-outage.ts";
import { handleMembership } from "../../workers/jobs/membership.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { handleProvisioning } from "../../workers/jobs/provisioning.ts";
import { handleRoomSync } from "../../workers/jobs/room-sync.ts";
import type { FailureKind } from "../../workers/matrix/http/failure.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

/** A delay that does not end during the test. */
const WAIT_MS = 60_000;

let place: Workplace;
let homeserver: FakeHomeserver;
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(() => {
  homeserver = new FakeHomeserver();
});
afterAll(() => place.close());

type Work = {
  /** The table and column of the due time; its row is that of the room unless it is a user's. */
  due: [table: string, column: string, key: string];
  /** Runs the job, whose first call fails. */
  run: (room: Room, ada: string) => Promise<unknown>;
  before?: (room: Room) => Promise<unknown>;
};

const WORK: Record<string, Work> = {
  "a room's messages": {
    due: ["room_outbox", "next_attempt_at", "room_id"],
    before: (room) => place.accept(room, "ada", "hello"),
    run: ({ id }) =>
      handleOutboundMessage(place.context(homeserver), { tenantId: place.tenantId, roomId: id }),
  },
  "a room's members": {
    due: ["rooms", "members_next_attempt_at", "id"],
    before: ({ id }) => place.sql("update memberships set opened_at = now() where room_id = ?", [id]),
    run: ({ id }) => handleMembership(place.context(homeserver), { tenantId: place.tenantId, roomId: id }),
  },
  "a room": {
    due: ["rooms", "next_attempt_at", "id"],
    run: ({ id }) =>
      handleProvisioning(place.context(homeserver), { tenantId: place.tenantId, subject: "room", id }),
  },
  "a user's account": {
    due: ["users", "next_attempt_at", "id"],
    run: (_, id) =>
      handleProvisioning(place.context(homeserver), { tenantId: place.tenantId, subject: "user", id }),
  },
  "a gap": {
    due: ["room_timeline", "gap_next_attempt_at", "room_id"],
    before: async ({ id }) => {
      await place.sql("update rooms set matrix_room_id = id where id = ?", [id]);
      await place.sql("update room_timeline set gap_from = 's1', gap_to = 's2' where room_id = ?", [id]);
    },
    run: ({ id }) => handleRoomSync(place.context(homeserver), { tenantId: place.tenantId, roomId: id }),
  },
};

/** The delay that is left after the work failed once and the homeserver answers again. */
async function waitAfterwards(work: Work, kind: FailureKind): Promise<number> {
  const name = `person-${++count}`;
  const room = await place.room(`group:held-${count}`, [name, "ada"]);
  const person = await place.userId(name);
  await work.before?.(room);
  homeserver.refuse(/./, kind, { retryAfterMs: WAIT_MS });
  await work.run(room, person);
  const [table, column, key] = work.due;
  const id = table === "users" ? person : room.id;
  const waitMs = async () => {
    const [row] = await place.sql<{ ms: number }>(
      `select extract(epoch from ${column} - now())::float8 * 1000 as ms from ${table} where ${key} = ?`,
      [id],
    );
    return row?.ms ?? 0;
  };
  expect(await waitMs()).toBeGreaterThan(WAIT_MS - 10_000);
  const [tenant] = await place.sql<{ homeserver_id: string }>("select homeserver_id from tenants");
  await resumeAfterOutage(place.db, tenant?.homeserver_id ?? "");
  return waitMs();
}

test.each(Object.keys(WORK))(
  "%s that failed because the homeserver was silent is due soon when it answers again",
  async (what) => {
    expect(await waitAfterwards(WORK[what] as Work, "transient")).toBeLessThan(2_500);
  },
);

test.each(Object.keys(WORK))("%s that the homeserver asked to delay keeps its time", async (what) => {
  expect(await waitAfterwards(WORK[what] as Work, "limited")).toBeGreaterThan(WAIT_MS - 10_000);
});

test("a join that is due a little after its member opened the room does not become due earlier", async () => {
  const room = await place.room("group:opened-later", ["ada"]);
  await place.sql(
    "update rooms set next_attempt_at = null, members_next_attempt_at = now() + interval '5 seconds' where id = ?",
    [room.id],
  );
  const [tenant] = await place.sql<{ homeserver_id: string }>("select homeserver_id from tenants");
  await resumeAfterOutage(place.db, tenant?.homeserver_id ?? "");
  const [row] = await place.sql<{ is_kept: boolean }>(
    "select members_next_attempt_at > now() + interval '4 seconds' as is_kept from rooms where id = ?",
    [room.id],
  );
  expect(row?.is_kept).toBe(true);
});
