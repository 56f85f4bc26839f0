import { createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { findFreePort, isPortFree, readPort, refuseTakenPorts } from "../../stack/machine/ports.mjs";

const hasIPv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === "::1"),
);

let taken: Server;
let takenPort: number;

beforeEach(async () => {
  takenPort = await findFreePort();
  taken = createServer();
  await new Promise<void>((resolve) => taken.listen(takenPort, "127.0.0.1", resolve));
});

afterEach(async () => {
  await new Promise((resolve) => taken.close(resolve));
});

describe("a port", () => {
  test("that another program holds is not free, and another is found", async () => {
    expect(await isPortFree(takenPort)).toBe(false);
    expect(await findFreePort(takenPort)).not.toBe(takenPort);
  });

  test("that is preferred and free is returned", async () => {
    const port = await findFreePort();
    expect(await findFreePort(port)).toBe(port);
  });

  test("that another program holds is wrong use, and the error names its variable", async () => {
    await expect(refuseTakenPorts({ API_PORT: takenPort }, "127.0.0.1")).rejects.toMatchObject({
      exitCode: 2,
      message: `port ${takenPort} is taken by another program`,
      advice: expect.stringContaining("API_PORT="),
    });
  });

  // Not every machine has IPv6.
  test.each([["127.0.0.2", "0.0.0.0"], ...(hasIPv6 ? [["::1", "::"] as const] : [])])(
    "that is taken on %s is wrong use for processes that listen on %s, and not for those on loopback",
    async (address, bindAddress) => {
      const port = await findFreePort();
      const elsewhere = createServer();
      await new Promise<void>((resolve) => elsewhere.listen(port, address, resolve));
      try {
        await expect(refuseTakenPorts({ API_PORT: port }, bindAddress)).rejects.toMatchObject({
          exitCode: 2,
        });
        await expect(refuseTakenPorts({ API_PORT: port }, "127.0.0.1")).resolves.toBeUndefined();
      } finally {
        await new Promise((resolve) => elsewhere.close(resolve));
      }
    },
  );

  test("that two variables name is wrong use", async () => {
    const port = await findFreePort();
    await expect(refuseTakenPorts({ API_PORT: port, JOBS_PORT: port }, "127.0.0.1")).rejects.toMatchObject({
      exitCode: 2,
    });
  });

  test("comes from the environment, else from the default", () => {
    expect(readPort({ API_PORT: "4000" }, "API_PORT", 3_000)).toBe(4_000);
    expect(readPort({}, "API_PORT", 3_000)).toBe(3_000);
  });

  test.each(["abc", "0", "65536", "3000.5", "-1"])("of %s is wrong use", (text) => {
    expect(() => readPort({ API_PORT: text }, "API_PORT", 3_000)).toThrow(
      expect.objectContaining({ exitCode: 2 }),
    );
  });
});
