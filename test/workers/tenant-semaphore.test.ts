import { expect, test } from "@jest/globals";
import { createTenantSemaphore } from "../../workers/outbound/tenant-semaphore.ts";

test("one tenant takes its places and no more, another's room goes on", () => {
  const gate = createTenantSemaphore({ all: 9, each: 2 });
  expect(["a", "b", "c"].map((room) => gate.enter("busy", room))).toEqual([true, true, false]);
  expect(gate.enter("quiet", "z")).toBe(true);
});

test("a room that found no place is named when one is given back, the longest waiting first", () => {
  const gate = createTenantSemaphore({ all: 9, each: 1 });
  for (const room of ["a", "b", "c", "b"]) gate.enter("busy", room);
  expect(gate.leave("busy")).toBe("b");
  expect(gate.enter("busy", "b")).toBe(true);
  expect(gate.leave("busy")).toBe("c");
  expect(gate.leave("quiet")).toBeNull();
});

test("a tenant that has nothing more to do is forgotten", () => {
  const gate = createTenantSemaphore({ all: 9, each: 1 });
  gate.enter("busy", "a");
  expect(gate.leave("busy")).toBeNull();
  expect(gate.leave("busy")).toBeNull();
});

test("is crowded for a tenant that has its places, and for everybody when all are taken", () => {
  const gate = createTenantSemaphore({ all: 3, each: 2 });
  gate.enter("busy", "a");
  expect(gate.isCrowded("busy")).toBe(false);
  gate.enter("busy", "b");
  expect([gate.isCrowded("busy"), gate.isCrowded("quiet")]).toEqual([true, false]);
  gate.enter("quiet", "z");
  expect(gate.isCrowded("quiet")).toBe(true);
  gate.leave("busy");
  expect([gate.isCrowded("busy"), gate.isCrowded("quiet")]).toEqual([false, false]);
});
