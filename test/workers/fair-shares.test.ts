import { randomBytes } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { putRoom } from "../../api/mutations/put-room.ts";
import { ensureHomeserver } from "../../shared/db/homeservers/homeservers.ts";
import { acceptMessages } from "../../shared/db/messages/accept/accept-messages.ts";
import { createTenant } from "../../shared/db/tenants/tenants.ts";
import { openWorkerRedis, type Redis } from "../../shared/platform/redis.ts";
import type { JobName } from "../../shared/queues/index.ts";
import { createWake } from "../../shared/queues/open.ts";
import { openHomeserverPool } from "../../workers/matrix/homeserver/pool.ts";
import type { WorkerContext } from "../../workers/runtime/context.ts";
import { runJobs } from "../../workers/runtime/run-jobs.ts";
import { startSweeper } from "../../workers/runtime/sweeper.ts";
import { createRandom } from "../faults/environment/random.ts";
import { openStandIn, type StandIn } from "../faults/environment/homeserver/stand-in.ts";
import { openWorkplace, SEAL_KEYS, type Workplace } from "../support/stack-workplace.ts";
import { until } from "../support/wait.ts";

/** A homeserver that is slow at everything but sending, with the jobs of one process. */
const SLOW_CALL_MS = 120;
const LIMIT_MS = 60_000;

let place: Workplace;
let standIn: StandIn;
let context: WorkerContext;
let connection: Redis;
beforeAll(async () => {
  place = await openWorkplace();
  standIn = await openStandIn({
    serverName: "stand-in.test",
    asToken: randomBytes(16).toString("hex"),
    random: createRandom(1),
  });
  connection = openWorkerRedis(place.redisUrl, place.log, "test-worker");
  const base = place.context();
  const { db, log } = place;
  const pool = openHomeserverPool({
    ...{ db, log, sealKeys: SEAL_KEYS, metrics: base.metrics },
    onRecovered: () => undefined,
  });
  context = {
    ...base,
    wake: createWake(place.queues, base.metrics.wakeFailures),
    homeserver: pool.get,
  };
});

/** Starts a jobs process, with metrics of its own. */
function startJobs() {
  const stopping = new AbortController();
  const { metrics } = place.context();
  const running = { ...context, metrics, stopping: stopping.signal };
  const jobs = runJobs(running, connection);
  const sweeper = startSweeper(running, place.queues, jobs.isWaiting);
  return {
    countRepairedKeys: async () => (await metrics.keysRepaired.get()).values[0]?.value ?? 0,
    stop: async () => {
      stopping.abort();
      await sweeper.stop();
      await jobs.close();
    },
  };
}
afterEach(() => {
  standIn.faults.clear();
});
afterAll(async () => {
  connection.disconnect();
  await standIn.stop();
  await place.close();
});

let tenants = 0;
async function makeTenant(limits: Record<string, unknown> = {}): Promise<string> {
  const homeserver = await ensureHomeserver(place.db, SEAL_KEYS, {
    baseUrl: standIn.url,
    serverName: standIn.serverName,
    mode: "appservice",
    asToken: standIn.asToken,
    registrationSecret: null,
  });
  const slug = `tenant-${String(++tenants)}`;
  const { tenant } = await createTenant(place.db, SEAL_KEYS, { slug, homeserver });
  await place.sql("update tenants set limits = ? where id = ?", [JSON.stringify(limits), tenant.id]);
  return tenant.id;
}

/** Makes a room as the API does: commit, then wake. */
async function makeRoom(tenantId: string, slug: string, users: readonly string[] = []): Promise<void> {
  const room = {
    name: slug,
    topic: null,
    avatar: null,
    visibility: "private" as const,
    join: "invite" as const,
    posting: "everyone" as const,
    slowModeS: 0,
  };
  const members = users.map((user, index) => ({
    user,
    role: "member" as const,
    place: `members[${index}].user`,
  }));
  const sideEffects = await putRoom(
    place.db,
    tenantId,
    { kind: "group", slug },
    { initial: room, fields: room, members, unknownUsers: "create" },
  );
  for (const effect of sideEffects)
    if (effect.type === "wakeJob") await context.wake<JobName>(effect.name, effect.payload);
}

async function post(tenantId: string, slug: string, user: string): Promise<void> {
  const [acceptance] = await acceptMessages(place.db, [
    {
      ...{ tenantId, user, room: { kind: "group", slug }, clientId: null, requestHash: null, stamp: null },
      content: { kind: "text", text: "hello" },
    },
  ]);
  if (!acceptance || !("message" in acceptance)) throw new Error("not accepted");
  await context.wake("outbound-message", { tenantId, roomId: acceptance.message.room_id });
}

type Work = { count: number; make: (tenantId: string, index: number) => Promise<void> };

/** What a tenant makes much of, and the event on Matrix by which each is done. */
const FLOODS: Record<string, Work & { done: (event: { type: string; content: unknown }) => boolean }> = {
  "new rooms": {
    count: 80,
    make: (tenantId, index) => makeRoom(tenantId, `room-${String(index)}`),
    done: ({ type }) => type === "m.room.join_rules",
  },
  "people who are joined at once": {
    count: 40,
    make: (tenantId, index) => makeRoom(tenantId, `room-${String(index % 10)}`, [`person-${String(index)}`]),
    done: ({ type, content }) =>
      type === "m.room.member" &&
      (content as { membership: string; displayname?: string }).membership === "join",
  },
  "first messages in new rooms": {
    count: 40,
    make: async (tenantId, index) => {
      const [slug, user] = [`room-${String(index)}`, `person-${String(index % 5)}`];
      await makeRoom(tenantId, slug, [user]);
      await post(tenantId, slug, user);
    },
    done: ({ type }) => type === "m.room.message",
  },
};

/** The tenants of the events that count, in the order in which the homeserver took them. */
async function orderOf(done: (event: { type: string; content: unknown }) => boolean): Promise<string[]> {
  const observers = await place.sql<{ id: string; tenant: string }>(
    "select matrix_user_id as id, tenant_id as tenant from observers",
  );
  const tenantOf = new Map(observers.map(({ id, tenant }) => [id, tenant]));
  return [...standIn.state.rooms.values()]
    .flatMap(({ events }) => {
      const tenant = tenantOf.get(events[0]?.sender ?? "") ?? "";
      // The observer's own join is the room's creation.
      return events
        .filter((event) => done(event) && (event.type !== "m.room.member" || !tenantOf.has(event.sender)))
        .map(({ ordinal }) => ({ ordinal, tenant }));
    })
    .sort((a, b) => a.ordinal - b.ordinal)
    .map(({ tenant }) => tenant);
}

test.each(Object.keys(FLOODS))(
  "%s of one tenant let another tenant's come next",
  async (name) => {
    const flood = FLOODS[name];
    if (!flood) throw new Error("no such flood");
    const [busy, quiet] = [await makeTenant({ join: "eager" }), await makeTenant({ join: "eager" })];
    standIn.faults.add({
      path: /^POST .*\/(createRoom|register|invite|join)$/,
      fault: { do: "delay", ms: SLOW_CALL_MS },
    });
    const count = async (tenantId: string) =>
      (await orderOf(flood.done)).filter((id) => id === tenantId).length;
    for (let index = 0; index < flood.count; index++) await flood.make(busy, index);
    await flood.make(quiet, 0);
    // All the work is there when the jobs start: the queues hold the quiet tenant's last.
    const jobs = startJobs();
    try {
      const isDone = async () => (await count(busy)) === flood.count && (await count(quiet)) === 1;
      await until(isDone, "the work of both tenants is done", LIMIT_MS);
    } finally {
      await jobs.stop();
    }
    const order = await orderOf(flood.done);
    // Without fair shares, all of the busy tenant's comes first.
    const before = order.slice(0, order.indexOf(quiet)).filter((id) => id === busy).length;
    expect(before).toBeLessThan(flood.count / 2);
    expect(await jobs.countRepairedKeys()).toBe(0);
  },
  LIMIT_MS * 2,
);
