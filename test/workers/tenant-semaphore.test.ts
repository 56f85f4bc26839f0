import { expect, test } from "@jest/globals";
import { createTenantSemaphore, type TenantSlots } from "../../workers/runtime/tenant-semaphore.ts";

/** A semaphore whose work is named by its key. */
function open(slots: TenantSlots) {
  const semaphore = createTenantSemaphore<string>(slots);
  return { ...semaphore, acquire: (tenantId: string, key: string) => semaphore.acquire(tenantId, key, key) };
}

test("a tenant acquires its slots and no more, and another tenant's work goes on", () => {
  const semaphore = open({ perProcess: 9, perTenant: 2 });
  expect(["a", "b", "c"].map((key) => semaphore.acquire("busy", key))).toEqual([true, true, false]);
  expect(semaphore.acquire("quiet", "z")).toBe(true);
});

test("a release returns the work that waits longest", () => {
  const semaphore = open({ perProcess: 9, perTenant: 1 });
  for (const key of ["a", "b", "c", "b"]) semaphore.acquire("busy", key);
  expect(semaphore.waiting()).toBe(2);
  expect(semaphore.release("busy")).toBe("b");
  expect(semaphore.acquire("busy", "b")).toBe(true);
  expect(semaphore.release("busy")).toBe("c");
  expect(semaphore.release("quiet")).toBeNull();
});

test("the semaphore keeps nothing of a tenant that has nothing more to do", () => {
  const semaphore = open({ perProcess: 9, perTenant: 1 });
  semaphore.acquire("busy", "a");
  expect(semaphore.release("busy")).toBeNull();
  expect(semaphore.release("busy")).toBeNull();
  expect(semaphore.waiting()).toBe(0);
});

test("work waits for a slot until its tenant has a free one: a lost wake-up of it must be repeated then", () => {
  const semaphore = open({ perProcess: 9, perTenant: 1 });
  for (const key of ["a", "b", "c"]) semaphore.acquire("busy", key);
  expect(["a", "b", "c"].map((key) => semaphore.isWaiting("busy", key))).toEqual([false, true, true]);
  semaphore.release("busy");
  expect(["b", "c"].map((key) => semaphore.isWaiting("busy", key))).toEqual([false, false]);
  expect(semaphore.isWaiting("quiet", "b")).toBe(false);
});

test("the semaphore is contended for a tenant with all its slots, and for every tenant when all slots are held", () => {
  const semaphore = open({ perProcess: 3, perTenant: 2 });
  semaphore.acquire("busy", "a");
  expect(semaphore.isContended("busy")).toBe(false);
  semaphore.acquire("busy", "b");
  expect([semaphore.isContended("busy"), semaphore.isContended("quiet")]).toEqual([true, false]);
  semaphore.acquire("quiet", "z");
  expect(semaphore.isContended("quiet")).toBe(true);
  semaphore.release("busy");
  expect([semaphore.isContended("busy"), semaphore.isContended("quiet")]).toEqual([false, false]);
});
