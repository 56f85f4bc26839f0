import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { z } from "zod";
import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { openApiWorld, type ApiWorld, type TestTenant } from "../support/api.ts";
import { runSchemathesis } from "./run-schemathesis.ts";

/** `SCHEMATHESIS=long npm test -- test/openapi` sends many more requests. */
const isLong = process.env["SCHEMATHESIS"] === "long";
const LIMIT_MS = isLong ? 3_600_000 : 480_000;
/** Requests at random for each call: with a credential that the call takes, and with another one. */
const EXAMPLES = isLong ? { own: 200, other: 50 } : { own: 3, other: 1 };
const NO_LIMIT = 1_000_000_000;

let world: ApiWorld;
let tenants = 0;

beforeAll(async () => {
  world = await openApiWorld({ env: { TRUSTED_PROXIES: "loopback" } });
});
afterAll(() => world.close());

/** A tenant with what the examples of the document name, and the id of a message in it. */
async function openTenant(): Promise<{ tenant: TestTenant; messageId: string }> {
  const slug = `generated-${++tenants}`;
  const tenant = await world.tenant(slug);
  await setTenantLimits(world.db, slug, {
    queuedMessages: NO_LIMIT,
    pendingUsers: 100_000,
    pendingRooms: 100_000,
    userRequests: NO_LIMIT,
    roomActs: NO_LIMIT,
    roomSigns: NO_LIMIT,
    keyRequests: NO_LIMIT,
    tenantRequests: NO_LIMIT,
  });
  const room = "/v1/rooms/event/py-meetup";
  const members = [{ user: "ada", role: "owner" }, { user: "bob" }];
  await tenant.server("PUT", room, { body: { name: "Py meetup", members } });
  await tenant.server("PUT", "/v1/rooms/direct/ada~bob");
  const posted = await (await tenant.user("ada"))("POST", `${room}/messages`, { body: { text: "Hello" } });
  return { tenant, messageId: z.object({ id: z.uuid() }).parse(posted.body).id };
}

type Credential = (tenant: TestTenant) => Promise<string | null>;

const serverKey: Credential = async (tenant) => (await tenant.key("server")).key;
const userToken: Credential = (tenant) => tenant.token("ada", { lifetimeS: 7_200 });
const operatorKey: Credential = async (tenant) => (await tenant.key("operator")).key;
const viewerKey: Credential = async (tenant) => (await tenant.key("viewer")).key;
const nothing: Credential = () => Promise.resolve(null);
const BACKEND = ["users", "rooms", "members"];
const PEOPLE = ["messages", "me"];

test.each<[string, string, Credential, readonly string[], "own" | "other"]>([
  ["a backend's calls", "a server key", serverKey, BACKEND, "own"],
  ["a person's calls", "a user token", userToken, PEOPLE, "own"],
  ["a person's calls", "a server key", serverKey, PEOPLE, "other"],
  ["a backend's calls", "a user token", userToken, BACKEND, "other"],
  ["every call", "an operator key", operatorKey, [], "other"],
  ["every call", "a viewer key", viewerKey, [], "other"],
  ["every call", "no credential", nothing, [], "other"],
])(
  "the API answers generated requests of %s with %s as its document says",
  async (...given) => {
    const [, , credentialOf, tags, calls] = given;
    const { tenant, messageId } = await openTenant();
    const found = await runSchemathesis({
      url: world.url,
      credential: await credentialOf(tenant),
      messageId,
      tags,
      // What a wrong credential sends matters little: `coverage` sends a request for each limit of each value.
      phases: calls === "own" || isLong ? "examples,coverage,fuzzing" : "fuzzing",
      examples: EXAMPLES[calls],
      limitMs: LIMIT_MS,
    });
    expect(found).toBeNull();
  },
  LIMIT_MS + 10_000,
);
