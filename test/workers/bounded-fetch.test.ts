import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { createConnection, NOT_IN_TIME } from "../../workers/matrix/http/client.ts";
import { createBoundedFetch, ResponseTooLarge } from "../../workers/matrix/http/bounded-fetch.ts";

const LIMIT = 1_000;
const fetchBounded = createBoundedFetch({ maxResponseBytes: LIMIT });

/** What the server does, by path. */
const RESPONSES: Record<string, (response: ServerResponse) => void> = {
  "/whole": (response) => response.end('{"fine":true}'),
  "/chunked": (response) => {
    response.write('{"fi');
    response.end('ne":true}');
  },
  "/empty": (response) => response.writeHead(204).end(),
  "/nothing": (response) => response.writeHead(200, { "content-length": "0" }).end(),
  "/stall-in-head": () => undefined,
  "/stall-in-body": (response) => response.write('{"fi'),
  "/stall-announced": (response) => response.writeHead(200, { "content-length": "100" }).write('{"fi'),
  "/too-large": (response) => response.end("x".repeat(LIMIT + 1)),
  "/too-large-chunked": (response) => {
    response.write("x".repeat(LIMIT));
    response.end("x");
  },
  "/endless": (response) => {
    const timer = setInterval(() => response.write("x".repeat(100)), 1);
    response.once("close", () => clearInterval(timer));
  },
  "/reset": (response) => response.socket?.resetAndDestroy(),
  "/reset-in-body": (response) => {
    response.write('{"fi');
    setImmediate(() => response.socket?.resetAndDestroy());
  },
  "/html": (response) => response.writeHead(502, { "content-type": "text/html" }).end("<h1>Bad Gateway</h1>"),
};

let server: Server;
let url: string;
beforeAll(async () => {
  server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://test").pathname;
    RESPONSES[path]?.(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test.each(["/whole", "/chunked"])("a response within the limits is read (%s)", async (path) => {
  expect(await (await fetchBounded(url + path)).json()).toEqual({ fine: true });
});

test("a response without a body is read", async () => {
  expect((await fetchBounded(`${url}/empty`)).status).toBe(204);
  expect(await (await fetchBounded(`${url}/nothing`)).text()).toBe("");
});

test.each(["/stall-in-head", "/stall-in-body", "/stall-announced"])(
  "a call to a server that stops sending ends at its time limit (%s)",
  async (path) => {
    const startedAtMs = performance.now();
    await expect(fetchBounded(url + path, { signal: AbortSignal.timeout(200) })).rejects.toMatchObject({
      name: "TimeoutError",
    });
    expect(performance.now() - startedAtMs).toBeLessThan(3_000);
  },
);

test.each(["/too-large", "/too-large-chunked", "/endless"])(
  "a response that is too large is not read to its end (%s)",
  async (path) => {
    await expect(fetchBounded(url + path)).rejects.toBeInstanceOf(ResponseTooLarge);
  },
);

test.each(["/too-large", "/too-large-chunked", "/endless"])(
  "the cause of a failed call names a response that is too large (%s)",
  async (path) => {
    const connect = createConnection({ baseUrl: url, accessToken: null, maxResponseBytes: LIMIT });
    await expect(connect({})({ method: "GET", prefix: "", path })).rejects.toMatchObject({
      kind: "transient",
      cause: expect.any(ResponseTooLarge) as unknown,
    });
  },
);

test.each(["/stall-in-head", "/stall-in-body"])(
  "the errcode of a failed call names a timeout (%s)",
  async (path) => {
    const request = createConnection({ baseUrl: url, accessToken: null })({});
    await expect(request({ method: "GET", prefix: "", path, timeoutMs: 200 })).rejects.toMatchObject({
      kind: "transient",
      errcode: NOT_IN_TIME,
    });
  },
);

test("calls share a connection", async () => {
  const ports = new Set<number | undefined>();
  const note = (request: IncomingMessage) => ports.add(request.socket.remotePort);
  server.on("request", note);
  const bounded = createBoundedFetch({ maxResponseBytes: LIMIT });
  for (let index = 0; index < 5; index++) await (await bounded(`${url}/whole`)).json();
  server.off("request", note);
  expect(ports.size).toBe(1);
});

test.each(["/reset", "/reset-in-body"])("a cut connection is a failure (%s)", async (path) => {
  await expect(fetchBounded(url + path)).rejects.toThrow();
});

test.each(["/stall-in-head", "/stall-in-body", "/reset", "/reset-in-body", "/endless", "/html"])(
  "a Matrix call that ends so (%s) is transient, and its message holds no address and no token",
  async (path) => {
    const request = createConnection({
      baseUrl: url,
      accessToken: "a-secret-token",
      maxResponseBytes: LIMIT,
    })({});
    const failure = await request({ method: "GET", prefix: "", path, timeoutMs: 300 }).catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ name: "MatrixFailure", kind: "transient" });
    expect((failure as Error).message).not.toMatch(/127\.0\.0\.1|secret/);
  },
);
