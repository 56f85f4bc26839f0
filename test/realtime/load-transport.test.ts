import { expect, test } from "@jest/globals";
import { loadTransport } from "../../realtime/transport/load.ts";
import type { OpenTransport } from "../../realtime/transport/transport.ts";
import { openWs } from "../../realtime/transport/ws.ts";
import { createLog } from "../../shared/platform/log.ts";

const openUws: OpenTransport = () => Promise.reject(new Error("not opened in this test"));
const loads = () => Promise.resolve(openUws);
const fails = () => Promise.reject<OpenTransport>(new Error("GLIBC_2.38 not found"));

function given(processes: number, load: () => Promise<OpenTransport>) {
  const log = createLog({ level: "silent", tier: "test" });
  const warnings: unknown[] = [];
  log.warn = (fields: unknown) => void warnings.push(fields);
  return { options: { processes, log, load }, warnings };
}

test("auto chooses uws where it loads, with several processes too", async () => {
  const { options, warnings } = given(4, loads);
  expect(await loadTransport("auto", options)).toBe(openUws);
  expect(warnings).toEqual([]);
});

test("auto falls back to ws where uws does not load, with a warning that says why", async () => {
  const { options, warnings } = given(1, fails);
  expect(await loadTransport("auto", options)).toBe(openWs);
  expect(warnings).toEqual([{ reason: "GLIBC_2.38 not found" }]);
});

test("the fallback of several processes fails, since ws cannot share the port", async () => {
  await expect(loadTransport("auto", given(2, fails).options)).rejects.toThrow(
    /GLIBC_2\.38 not found.*REALTIME_PROCESSES must be 1, not 2/,
  );
});

test("uws fails where it does not load, and names the variable", async () => {
  await expect(loadTransport("uws", given(1, fails).options)).rejects.toThrow(
    "TRANSPORT is uws, but uWebSockets.js does not load: GLIBC_2.38 not found",
  );
});

test("ws never loads uws, and refuses several processes", async () => {
  expect(await loadTransport("ws", given(1, fails).options)).toBe(openWs);
  await expect(loadTransport("ws", given(2, loads).options)).rejects.toThrow("REALTIME_PROCESSES must be 1");
});
