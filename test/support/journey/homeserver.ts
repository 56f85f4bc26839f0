import { once } from "node:events";
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Matches nothing. */
const NOWHERE = /(?!)/;

/**
 * A proxy between the product and the real Synapse that fails on demand. Its error responses name everything that
 * must stay secret: accounts, rooms, tokens, its own name.
 */
export class FailingHomeserver {
  /** Ends every connection. */
  isDown = false;
  /** A send whose body matches is refused for good. */
  refusedBody = NOWHERE;
  /** A call whose path matches gets a response that is not JSON. */
  garbledPath = NOWHERE;
  /** The number of failures so far. */
  readonly failures = { down: 0, refused: 0, garbled: 0 };
  readonly #target: URL;
  readonly #serverName: string;
  #server: Server | null = null;

  constructor(target: { url: string; serverName: string }) {
    this.#target = new URL(target.url);
    this.#serverName = target.serverName;
  }

  /** Starts to listen and returns its URL. */
  async open(): Promise<string> {
    const server = createServer((incoming, response) => void this.#answer(incoming, response));
    this.#server = server;
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of incoming) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    if (this.isDown) {
      this.failures.down++;
      incoming.socket.destroy();
    } else if (this.refusedBody.test(body.toString())) {
      this.failures.refused++;
      this.#fail(response, 400, { errcode: "M_BAD_JSON", error: this.#quoteRequest(incoming, body) });
    } else if (this.garbledPath.test(incoming.url ?? "")) {
      this.failures.garbled++;
      this.#fail(response, 200, { nonsense: this.#quoteRequest(incoming, body) });
    } else this.#forward(incoming, body, response);
  }

  #quoteRequest({ url = "", headers }: IncomingMessage, body: Buffer): string {
    const { authorization = "" } = headers;
    return `${this.#serverName} at ${this.#target.href}: ${decodeURIComponent(url)} ${authorization} ${body.toString()}`;
  }

  #fail(response: ServerResponse, status: number, body: unknown): void {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  #forward(incoming: IncomingMessage, body: Buffer, response: ServerResponse): void {
    const { method, url: path, headers } = incoming;
    const { hostname, port } = this.#target;
    const onward = request({ hostname, port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => incoming.socket.destroy());
    response.on("close", () => onward.destroy());
    onward.end(body);
  }
}
