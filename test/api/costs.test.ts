import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { openApiWorld, type ApiWorld, type Ask, type Reply, type TestTenant } from "../support/api.ts";
import { leastCost } from "../support/costs.ts";

let world: ApiWorld;
const places = new Map<number, Place>();

/** A person with so many rooms, and one of them with so many members and messages; each message was edited and has a reaction. */
type Place = { ada: Ask; bob: Ask; number: number };

const SIZES = [1, 50] as const;
const MAIN = "/v1/rooms/group/main";
const LIMIT_MS = 120_000;

beforeAll(async () => {
  world = await openApiWorld();
  for (const size of SIZES) places.set(size, await openPlace(size));
}, LIMIT_MS);
afterAll(() => world.close());

async function openPlace(size: number): Promise<Place> {
  const slug = `costs-${String(size)}`;
  const tenant = await world.tenant(slug);
  await setTenantLimits(world.db, slug, { roomActs: 100_000, roomSigns: 100_000 });
  const [ada, bob] = [await tenant.user("ada"), await tenant.user("bob")];
  const pair = [{ user: "ada" }, { user: "bob" }];
  await openRooms(tenant, size, pair);
  let number = 0;
  for (let index = 0; index < size; index++) {
    const { id } = await say(bob, `message ${String(index)}`);
    await must(bob("PATCH", `${MAIN}/messages/${id}`, { body: { text: "corrected" } }));
    await must(ada("PUT", `${MAIN}/messages/${id}/reactions/%2B`));
    number = (await say(bob, "after it")).number;
  }
  return { ada, bob, number };
}

async function openRooms(tenant: TestTenant, size: number, pair: readonly object[]): Promise<void> {
  const put = (slug: string, members: readonly object[]) =>
    must(
      tenant.server("PUT", `/v1/rooms/group/${slug}`, {
        body: { name: slug, visibility: "public", members },
      }),
    );
  await put("main", [
    ...pair,
    ...Array.from({ length: size - 1 }, (_, index) => ({ user: `extra-${String(index)}` })),
  ]);
  for (let index = 1; index < size; index++) await put(`other-${String(index)}`, pair);
}

async function must(asking: Promise<Reply>): Promise<Reply> {
  const reply = await asking;
  if (reply.status >= 300) throw new Error(`${String(reply.status)}: ${JSON.stringify(reply.body)}`);
  return reply;
}

async function say(as: Ask, text: string): Promise<{ id: string; number: number }> {
  return (await must(as("POST", `${MAIN}/messages`, { body: { text } }))).body as {
    id: string;
    number: number;
  };
}

const read =
  (path: string | ((place: Place) => string)) =>
  ({ place }: Run): Promise<Reply> =>
    must(place.ada("GET", typeof path === "string" ? path : path(place)));
type Run = { place: Place; message: string; run: number };
const messageOf = ({ message }: Run, rest = "") => `${MAIN}/messages/${message}${rest}`;

/**
 * What a call costs at most, for a person whose token and tenant are known to the process: statements of Postgres, without begin and
 * commit, which travel with them; and commands of Redis, two of which share the process's counters of requests. It is the same for one row and for many.
 */
const COSTS: readonly {
  what: string;
  work: (given: Run) => Promise<unknown>;
  statements: number;
  commands: number;
  /** Commands for each member beside those. */
  perMember?: number;
  /** The message was edited as often as there are rows. */
  isEdited?: boolean;
}[] = [
  { what: "a post", work: ({ place }) => say(place.ada, "hello"), statements: 2, commands: 3 },
  {
    what: "an edit",
    work: (given) =>
      must(given.place.ada("PATCH", messageOf(given), { body: { text: `edit ${String(given.run)}` } })),
    // Whom it mentions is read before: the text names them.
    ...{ statements: 5, commands: 7 },
  },
  {
    what: "a reaction",
    work: (given) => must(given.place.bob("PUT", messageOf(given, "/reactions/%2B"))),
    ...{ statements: 4, commands: 7 },
  },
  {
    what: "a deletion",
    work: (given) => must(given.place.ada("DELETE", messageOf(given))),
    // Each member that had not read it receives what is unread now.
    ...{ statements: 9, commands: 9, perMember: 1 },
  },
  {
    what: "the deletion of a message with edits",
    work: (given) => must(given.place.ada("DELETE", messageOf(given))),
    ...{ statements: 9, commands: 9, perMember: 1, isEdited: true },
  },
  {
    what: "typing",
    work: ({ place }) => must(place.ada("PUT", `${MAIN}/typing`, { body: { typing: true } })),
    ...{ statements: 1, commands: 7 },
  },
  {
    what: "reading on",
    work: async ({ place }) => must(place.bob("PUT", `${MAIN}/read`, { body: { number: 1_000_000 } })),
    ...{ statements: 3, commands: 8 },
  },
  { what: "a page", work: read(`${MAIN}/messages?limit=100`), statements: 4, commands: 2 },
  {
    what: "a page around a number",
    work: read(({ number }) => `${MAIN}/messages?around=${String(number)}`),
    ...{ statements: 5, commands: 2 },
  },
  { what: "my rooms", work: read("/v1/me/rooms?limit=100"), statements: 3, commands: 2 },
  { what: "what is unread in total", work: read("/v1/me/unread"), statements: 2, commands: 2 },
  { what: "members", work: read(`${MAIN}/members?limit=100`), statements: 2, commands: 2 },
  { what: "the directory", work: read("/v1/rooms?visibility=public&limit=100"), statements: 2, commands: 2 },
  { what: "receipts", work: read(`${MAIN}/receipts`), statements: 2, commands: 2 },
];

describe.each(SIZES)("with %d of everything", (size) => {
  test.each(COSTS)("$what costs $statements statements and $commands commands at most", async (row) => {
    const place = places.get(size);
    if (!place) throw new Error("the place is not open");
    let run = 0;
    const prepare = async (): Promise<Run> => {
      const { id: message } = await say(place.ada, "of ada");
      for (let edit = 0; row.isEdited && edit < size; edit++)
        await must(
          place.ada("PATCH", `${MAIN}/messages/${message}`, { body: { text: `edit ${String(edit)}` } }),
        );
      return { place, run: ++run, message };
    };
    const cost = await leastCost(prepare, row.work);
    expect(cost.statements).toBeLessThanOrEqual(row.statements);
    expect(cost.commands).toBeLessThanOrEqual(row.commands + (row.perMember ?? 0) * (size + 1));
  });
});
