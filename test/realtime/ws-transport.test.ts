import { afterEach, expect, test } from "@jest/globals";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Transport } from "../../realtime/transport/transport.ts";
import { openWs } from "../../realtime/transport/ws.ts";
import { waitFor } from "../support/centrifuge.ts";

let transport: Transport | undefined;
let client: Socket | undefined;
afterEach(() => {
  client?.destroy();
  transport?.close();
});

test("a client that keeps its side open after a refused upgrade leaves no socket on the server", async () => {
  transport = await openWs({
    port: 0,
    isShared: false,
    limits: { frameBytes: 1_024, queueBytes: 1_024, closeMs: 1_000 },
    subprotocols: [],
    isKnownOrigin: () => false,
    isFull: () => false,
    readNetwork: () => "",
    isNetworkFull: () => false,
    accept: () => {
      throw new Error("nothing is accepted here");
    },
    onRefused: () => undefined,
    answer: () => null,
  });
  client = connect({ port: transport.port, host: "127.0.0.1", allowHalfOpen: true });
  let isReset = false;
  client.on("error", () => (isReset = true));
  let answer = "";
  client.on("data", (data) => (answer += data.toString()));
  client.write(
    "GET /connection/websocket HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\norigin: https://b.example\r\n\r\n",
  );
  await once(client, "end");
  expect(answer).toMatch(/^HTTP\/1\.1 403 .*this origin may not connect$/s);
  await waitFor(() => {
    client?.write("x");
    return isReset;
  });
});
