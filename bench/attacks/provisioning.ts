import { createRest, type Rest } from "../rest.ts";
import { percentile } from "../percentile.ts";
import type { DemoStack } from "../stack.ts";
import { holdsWithin, pause, runInFlight } from "../wait.ts";
import type { Attack } from "./define.ts";
import { createTenantWithKey } from "./tenants.ts";

/**
 * Tenant A makes work for the homeserver as fast as the API takes it. When all of it is accepted, tenant B makes one room after
 * the other, and posts a first message in each when it is ready. Figures: how long B waits until its room is ready and until its message is sent.
 */
const ROOMS = 1_500;
const MEMBERS = 5_000;
const MEMBERS_AT_ONCE = 1_000;
const IN_FLIGHT = 32;
const SENDERS = 20;
const SAMPLES = 30;
const SAMPLING_MS = 45_000;
const LIMIT_MS = 120_000;
/** Seldom: the polls of what waits would take the processor from what they wait for. */
const POLL_MS = 200;

/** What A makes. `messages`: the rooms, and a first message in each. `members`: people who are joined at once. */
type Flood = "rooms" | "messages" | "members";

export function createProvisioningAttack(flood: Flood): Attack {
  return async (stack, write) => {
    const run = Date.now().toString(36);
    const a = await openTenant(stack, `noisy-${run}`, flood === "members" ? ["join=eager"] : []);
    const b = await openTenant(stack, `quiet-${run}`, []);
    const before = await countRepairedKeys();
    await acceptAll(stack, () => FLOODS[flood](a, stack), write);
    const samples: Sample[] = [];
    const endAtMs = performance.now() + SAMPLING_MS;
    for (let index = 0; index < SAMPLES && performance.now() < endAtMs; index++) {
      const sample = await takeSample(stack, b, index);
      samples.push(sample);
      write(`B: ready after ${seconds(sample.readyMs)}, sent after ${seconds(sample.sentMs)}`);
      await pause(500);
    }
    return {
      ...describe(
        "ready",
        samples.map(({ readyMs }) => readyMs),
      ),
      ...describe(
        "sent",
        samples.map(({ sentMs }) => sentMs),
      ),
      keysRepaired: (await countRepairedKeys()) - before,
    };
  };
}

/**
 * Freezes the jobs process until all of A's work is accepted, as a deployment does: on a machine whose API is slower than its
 * homeserver, there is no backlog otherwise.
 */
async function acceptAll(
  { pids }: DemoStack,
  flood: () => Promise<unknown>,
  write: (line: string) => void,
): Promise<void> {
  const jobs = pids["workers"];
  if (jobs === undefined) throw new Error("the stack has no jobs process");
  const startedAtMs = performance.now();
  process.kill(jobs, "SIGSTOP");
  try {
    await flood();
  } finally {
    process.kill(jobs, "SIGCONT");
  }
  write(`all of A is accepted after ${seconds(performance.now() - startedAtMs)}`);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

type Tenant = { rest: Rest; tokens: readonly string[] };

async function openTenant(stack: DemoStack, slug: string, limits: readonly string[]): Promise<Tenant> {
  const key = await createTenantWithKey(slug, limits);
  const rest = createRest(stack.apiUrl, key);
  const users = Array.from({ length: SENDERS }, (_, index) => `person-${String(index)}`);
  for (const user of users) await rest.putUser(user, user);
  const tokens = await Promise.all(users.map((user) => rest.token(user)));
  return { rest, tokens };
}

const memberOf = (index: number) => ({ user: `person-${String(index % SENDERS)}`, role: "member" });

const FLOODS: Record<Flood, (tenant: Tenant, stack: DemoStack) => Promise<unknown>> = {
  rooms: ({ rest }) => runInFlight(ROOMS, IN_FLIGHT, (index) => makeRoom(rest, index)),
  messages: ({ rest, tokens }, { apiUrl }) =>
    runInFlight(ROOMS, IN_FLIGHT, async (index) => {
      await makeRoom(rest, index);
      await createRest(apiUrl, tokens[index % SENDERS] ?? "").post(
        `group:room-${String(index)}`,
        "hello",
        `first-room-${String(index)}`,
      );
    }),
  members: ({ rest }) =>
    runInFlight(MEMBERS / MEMBERS_AT_ONCE, 1, (index) =>
      rest.putRoom(`/v1/rooms/group/room-${String(index)}`, {
        name: "Many",
        members: Array.from({ length: MEMBERS_AT_ONCE }, (_, member) => ({
          user: `member-${String(index * MEMBERS_AT_ONCE + member)}`,
        })),
      }),
    ),
};

function makeRoom(rest: Rest, index: number): Promise<unknown> {
  return rest.putRoom(`/v1/rooms/group/room-${String(index)}`, { name: "Room", members: [memberOf(index)] });
}

type Sample = { readyMs: number; sentMs: number };

/**
 * Makes a room, waits until it is ready, then posts in it: the first message of a room that is not ready would make it itself.
 * What is not done within the limit counts as the limit.
 */
async function takeSample({ apiUrl }: DemoStack, b: Tenant, index: number): Promise<Sample> {
  const slug = `room-${String(index)}`;
  const readyMs = await timeUntil(
    () => makeRoom(b.rest, index),
    async () => (await b.rest.room(`/v1/rooms/group/${slug}`)).status === "ready",
  );
  const sender = createRest(apiUrl, b.tokens[index % SENDERS] ?? "");
  // A repeated post answers with the message as it is now.
  const post = () => sender.post(`group:${slug}`, "hello", `first-${slug}`);
  const sentMs = await timeUntil(post, async () => (await post()).status === "sent");
  return { readyMs, sentMs };
}

async function timeUntil(start: () => Promise<unknown>, isDone: () => Promise<boolean>): Promise<number> {
  const startedAtMs = performance.now();
  await start();
  await holdsWithin(LIMIT_MS, isDone, POLL_MS);
  return performance.now() - startedAtMs;
}

function describe(what: string, values: readonly number[]): Record<string, number> {
  const at = (share: number) => Math.round(percentile(values, share) ?? 0);
  return { [`${what}P50Ms`]: at(0.5), [`${what}P95Ms`]: at(0.95), [`${what}MaxMs`]: at(1) };
}

/** How often the jobs processes have removed a deduplication key of a lost job. */
async function countRepairedKeys(): Promise<number> {
  const port = process.env["JOBS_PORT"] ?? "3002";
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(/^omc_deduplication_keys_repaired_total(?:{[^}]*})? (\d+)/m.exec(text)?.[1] ?? 0);
}
