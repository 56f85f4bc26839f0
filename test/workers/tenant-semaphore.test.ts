import { expect, test } from "@jest/globals";
import { createTenantSemaphore } from "../../workers/outbound/tenant-semaphore.ts";

test("a tenant acquires its slots and no more, and another tenant's room goes on", () => {
  const semaphore = createTenantSemaphore({ perProcess: 9, perTenant: 2 });
  expect(["a", "b", "c"].map((room) => semaphore.acquire("busy", room))).toEqual([true, true, false]);
  expect(semaphore.acquire("quiet", "z")).toBe(true);
});

test("a release returns the room that waits longest", () => {
  const semaphore = createTenantSemaphore({ perProcess: 9, perTenant: 1 });
  for (const room of ["a", "b", "c", "b"]) semaphore.acquire("busy", room);
  expect(semaphore.release("busy")).toBe("b");
  expect(semaphore.acquire("busy", "b")).toBe(true);
  expect(semaphore.release("busy")).toBe("c");
  expect(semaphore.release("quiet")).toBeNull();
});

test("the semaphore keeps nothing of a tenant that has nothing more to do", () => {
  const semaphore = createTenantSemaphore({ perProcess: 9, perTenant: 1 });
  semaphore.acquire("busy", "a");
  expect(semaphore.release("busy")).toBeNull();
  expect(semaphore.release("busy")).toBeNull();
});

test("the semaphore is contended for a tenant with all its slots, and for every tenant when all slots are held", () => {
  const semaphore = createTenantSemaphore({ perProcess: 3, perTenant: 2 });
  semaphore.acquire("busy", "a");
  expect(semaphore.isContended("busy")).toBe(false);
  semaphore.acquire("busy", "b");
  expect([semaphore.isContended("busy"), semaphore.isContended("quiet")]).toEqual([true, false]);
  semaphore.acquire("quiet", "z");
  expect(semaphore.isContended("quiet")).toBe(true);
  semaphore.release("busy");
  expect([semaphore.isContended("busy"), semaphore.isContended("quiet")]).toEqual([false, false]);
});
