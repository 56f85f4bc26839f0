import { expect, test } from "@jest/globals";
import type { MatrixCall } from "../../workers/matrix/http/client.ts";
import { createTenantTurns, isSlowCall } from "../../workers/matrix/homeserver/tenant-turns.ts";

/** Calls of tenants, named and ended by the test. */
function open(atOnce: number) {
  const turns = createTenantTurns(atOnce);
  const started: string[] = [];
  const ends = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  const run = (tenantId: string, name: string): Promise<void> =>
    turns.run(tenantId, () => {
      started.push(name);
      return new Promise((resolve, reject) => ends.set(name, { resolve, reject }));
    });
  return { ...turns, run, started, ends };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

test("a tenant's call starts before the calls of another that waited already, after one of those that run", async () => {
  const { run, started, ends } = open(2);
  for (let index = 0; index < 40; index++) void run("busy", `a${String(index)}`);
  void run("quiet", "b");
  expect(started).toEqual(["a0", "a1"]);
  ends.get("a0")?.resolve();
  await settle();
  ends.get("a1")?.resolve();
  await settle();
  expect(started).toEqual(["a0", "a1", "a2", "b"]);
});

test("tenants take turns, and each tenant's calls keep their order", async () => {
  const { run, started, ends } = open(1);
  for (const name of ["a1", "a2", "a3"]) void run("a", name);
  for (const name of ["b1", "b2"]) void run("b", name);
  void run("c", "c1");
  for (let index = 0; index < 6; index++) {
    ends.get(started[index] ?? "")?.resolve();
    await settle();
  }
  expect(started).toEqual(["a1", "a2", "b1", "c1", "a3", "b2"]);
});

test("a call that fails makes place for the next, and its caller receives the failure", async () => {
  const { run, started, ends } = open(1);
  const first = run("a", "a1");
  void run("a", "a2");
  ends.get("a1")?.reject(new Error("refused"));
  await expect(first).rejects.toThrow("refused");
  await settle();
  expect(started).toEqual(["a1", "a2"]);
});

test("all that wait start when the homeserver does not respond, and afterwards as few run at once as before", async () => {
  const { run, startAll, started, ends } = open(1);
  for (const name of ["a1", "a2", "a3"]) void run("a", name);
  startAll();
  await settle();
  expect(started).toEqual(["a1", "a2", "a3"]);
  void run("a", "a4");
  for (const name of ["a1", "a2"]) ends.get(name)?.resolve();
  await settle();
  expect(started).not.toContain("a4");
  ends.get("a3")?.resolve();
  await settle();
  expect(started).toContain("a4");
});

const room = "/rooms/!a%3Ahs";
const CALLS: [MatrixCall["method"], string, boolean][] = [
  ["POST", "/createRoom", true],
  ["POST", "/register", true],
  ["PUT", "/profile/%40a%3Ahs/displayname", true],
  ["POST", `${room}/invite`, true],
  ["POST", `${room}/join`, true],
  ["POST", `${room}/kick`, true],
  ["POST", `${room}/leave`, true],
  ["PUT", `${room}/state/m.room.power_levels`, true],
  ["GET", `${room}/state/m.room.power_levels`, false],
  ["GET", "/sync", false],
  ["PUT", `${room}/send/m.room.message/1`, false],
  ["PUT", `${room}/redact/%24a/1`, false],
  ["PUT", `${room}/typing/%40a%3Ahs`, false],
  ["POST", `${room}/receipt/m.read/%24a`, false],
];

test.each(CALLS)("%s %s takes turns: %s", (method, path, isSlow) => {
  expect(isSlowCall({ method, path })).toBe(isSlow);
});
