import { Agent, request, type IncomingMessage } from "node:http";

const ANSWER_LIMIT_MS = 60_000;

export type HttpCall = {
  method: "GET" | "POST" | "PUT";
  path: string;
  /** For the header Authorization. */
  credential: string;
  body?: unknown;
  headers?: Record<string, string>;
};
export type HttpAnswer = { status: number; body: unknown };

export type Http = { call: (call: HttpCall) => Promise<HttpAnswer>; close: () => void };

/** Calls over connections that are kept, with Node's `http`: its `fetch` takes twice the processor time. Repeats nothing. */
export function createHttp(baseUrl: string, maxConnections: number): Http {
  const agent = new Agent({ keepAlive: true, maxSockets: maxConnections, noDelay: true });
  return {
    call: async ({ method, path, credential, body, headers = {} }) => {
      const text = body === undefined ? "" : JSON.stringify(body);
      const message = await new Promise<IncomingMessage>((resolve, reject) => {
        const asked = request(baseUrl + path, {
          agent,
          method,
          headers: {
            authorization: `Bearer ${credential}`,
            ...(text === "" ? {} : { "content-type": "application/json" }),
            "content-length": Buffer.byteLength(text),
            ...headers,
          },
          signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
        });
        asked.on("error", reject);
        asked.once("response", resolve);
        asked.end(text);
      });
      const parts: Buffer[] = [];
      for await (const part of message) parts.push(part as Buffer);
      return {
        status: message.statusCode ?? 0,
        body: JSON.parse(Buffer.concat(parts).toString()) as unknown,
      };
    },
    close: () => {
      agent.destroy();
    },
  };
}

/** The same. @throws with the problem when the answer is no success. */
export async function callOk(http: Http, call: HttpCall): Promise<unknown> {
  const { status, body } = await http.call(call);
  if (status >= 400)
    throw new Error(`${call.method} ${call.path}: ${String(status)} ${JSON.stringify(body)}`);
  return body;
}
