import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { createConnection, type Requester } from "../../workers/matrix/http/client.ts";

type Reply = { status: number; type: string; body: string; retryAfter?: string };

let server: Server;
let request: Requester;
let reply: Reply;
beforeAll(async () => {
  server = createServer((_, response) => {
    response.writeHead(reply.status, {
      "content-type": reply.type,
      ...(reply.retryAfter === undefined ? {} : { "retry-after": reply.retryAfter }),
    });
    response.end(reply.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  request = createConnection({ baseUrl: `http://127.0.0.1:${port}`, accessToken: "t" })({});
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const plain = (status: number, body: string): Reply => ({ status, type: "text/plain", body });
const matrix = (status: number, errcode: string): Reply => ({
  status,
  type: "application/json",
  body: JSON.stringify({ errcode, error: "no" }),
});

test.each<[string, Reply, object]>([
  [
    "a proxy's page for an absent homeserver",
    plain(404, "404 page not found"),
    { kind: "transient", httpStatus: 404 },
  ],
  ["a proxy's refusal", plain(403, "Forbidden"), { kind: "transient", httpStatus: 403 }],
  [
    "a proxy's JSON",
    { status: 404, type: "application/json", body: '{"message":"no Route matched with those values"}' },
    { kind: "transient", httpStatus: 404 },
  ],
  ["the homeserver's own error", matrix(404, "M_NOT_FOUND"), { kind: "missing", errcode: "M_NOT_FOUND" }],
  [
    "a device that does not exist",
    matrix(400, "M_UNKNOWN_DEVICE"),
    { kind: "forbidden", errcode: "M_UNKNOWN_DEVICE" },
  ],
  [
    "a proxy's limit",
    { ...plain(429, "slow down"), retryAfter: "7" },
    { kind: "limited", retryAfterMs: 7_000 },
  ],
])("%s becomes a failure of its kind", async (_, given, failure) => {
  reply = given;
  await expect(request({ method: "GET", path: "/account/whoami" })).rejects.toMatchObject(failure);
});
