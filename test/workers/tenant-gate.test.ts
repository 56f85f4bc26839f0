import { expect, test } from "@jest/globals";
import { createTenantGate } from "../../workers/tenant-gate.ts";

test("one tenant takes its places and no more, another's room goes on", () => {
  const gate = createTenantGate(2);
  expect(["a", "b", "c"].map((room) => gate.enter("busy", room))).toEqual([true, true, false]);
  expect(gate.enter("quiet", "z")).toBe(true);
});

test("a room that found no place is named when one is given back, the longest waiting first", () => {
  const gate = createTenantGate(1);
  for (const room of ["a", "b", "c", "b"]) gate.enter("busy", room);
  expect(gate.leave("busy")).toBe("b");
  expect(gate.enter("busy", "b")).toBe(true);
  expect(gate.leave("busy")).toBe("c");
  expect(gate.leave("quiet")).toBeNull();
});

test("a tenant that has nothing more to do is forgotten", () => {
  const gate = createTenantGate(1);
  gate.enter("busy", "a");
  expect(gate.leave("busy")).toBeNull();
  expect(gate.leave("busy")).toBeNull();
});
