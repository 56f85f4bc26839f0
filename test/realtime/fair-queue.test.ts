import { describe, expect, test } from "@jest/globals";
import { FairQueue } from "../../shared/platform/concurrency/fair-queue.ts";

const OPTIONS = { atWork: 1, atWorkOfGroup: 1, waiting: 100, waitMs: 10_000 };

/** Requests of `tenant/user`, which are started one after the other; returns the order in which they run. */
async function orderOf(queue: FairQueue, requests: readonly string[]): Promise<string[]> {
  const order: string[] = [];
  const leaveFirst = await queue.enter("first", "first");
  const running = requests.map(async (request) => {
    const [tenant = "", user = ""] = request.split("/");
    const leave = await queue.enter(tenant, user);
    order.push(request);
    leave();
  });
  leaveFirst();
  await Promise.all(running);
  return order;
}

describe("the queue of connects", () => {
  test.each([
    ["one tenant after the other", ["a/1", "a/2", "a/3", "b/1"], ["a/1", "b/1", "a/2", "a/3"]],
    ["one user of a tenant after the other", ["a/1", "a/1", "a/1", "a/2"], ["a/1", "a/2", "a/1", "a/1"]],
    [
      "tenants before users",
      ["a/1", "a/1", "a/2", "b/1", "b/1", "c/1"],
      ["a/1", "b/1", "c/1", "a/2", "b/1", "a/1"],
    ],
  ])("it takes %s", async (_title, requests, order) => {
    expect(await orderOf(new FairQueue(OPTIONS), requests)).toEqual(order);
  });

  test("one tenant never has all of the places", async () => {
    const queue = new FairQueue({ ...OPTIONS, atWork: 3, atWorkOfGroup: 2 });
    const leaves = [await queue.enter("a", "1"), await queue.enter("a", "2")];
    let isThird = false;
    const third = queue.enter("a", "3").then((leave) => {
      isThird = true;
      return leave;
    });
    (await queue.enter("b", "1"))();
    expect(isThird).toBe(false);
    for (const leave of leaves) leave();
    (await third)();
    expect(queue.waiting).toBe(0);
  });

  test("when too many wait, the newest request of the user and tenant with the most is refused", async () => {
    const queue = new FairQueue({ ...OPTIONS, waiting: 3 });
    const leave = await queue.enter("x", "x");
    const outcomes: string[] = [];
    const requests = ["a/1", "a/2", "a/2", "b/1"].map((request) => {
      const [tenant = "", user = ""] = request.split("/");
      return queue.enter(tenant, user).then(
        (leaveIt) => {
          outcomes.push(request);
          leaveIt();
        },
        () => outcomes.push(`${request} refused`),
      );
    });
    leave();
    await Promise.all(requests);
    expect(outcomes).toEqual(["a/2 refused", "a/1", "b/1", "a/2"]);
  });

  test("a request whose turn does not come in time is refused, and its place is free", async () => {
    const queue = new FairQueue({ ...OPTIONS, waitMs: 20 });
    const leave = await queue.enter("a", "1");
    await expect(queue.enter("b", "1")).rejects.toMatchObject({ code: "unavailable" });
    leave();
    leave();
    (await queue.enter("b", "1"))();
    expect(queue.waiting).toBe(0);
  });
});
