import { WebSocket } from "ws";

/** The sockets that received a text, and when the first and the last of them did, by `performance.now()`. */
export type Arrivals = { sockets: number; firstAtMs: number; lastAtMs: number };

/** Many sockets of a few users, which only count what they receive: they cost little beside what is measured. */
export type CountingSockets = {
  arrivals: (text: string) => Arrivals;
  close: () => Promise<void>;
};

const OPENED_AT_ONCE = 50;
const NONE: Arrivals = { sockets: 0, firstAtMs: 0, lastAtMs: 0 };

/** Opens `count` sockets with the tokens in turn; resolves when every one is connected. */
export async function openCountingSockets(
  socketUrl: string,
  tokens: readonly string[],
  count: number,
): Promise<CountingSockets> {
  const byText = new Map<string, Arrivals>();
  const record = (text: string) => {
    const atMs = performance.now();
    const before = byText.get(text) ?? { ...NONE, firstAtMs: atMs };
    byText.set(text, { ...before, sockets: before.sockets + 1, lastAtMs: atMs });
  };
  const sockets: WebSocket[] = [];
  for (let opened = 0; opened < count; opened += OPENED_AT_ONCE) {
    const some = Array.from({ length: Math.min(OPENED_AT_ONCE, count - opened) }, (_, index) =>
      openSocket(socketUrl, tokens[(opened + index) % tokens.length] ?? "", record),
    );
    sockets.push(...(await Promise.all(some)));
  }
  return {
    arrivals: (text) => byText.get(text) ?? NONE,
    close: async () => {
      await Promise.all(
        sockets.map(
          (socket) =>
            new Promise((resolve) => {
              socket.once("close", resolve);
              socket.close();
            }),
        ),
      );
    },
  };
}

/** One socket with the part of the protocol that receiving needs: connect, and a pong for every ping. */
function openSocket(url: string, token: string, record: (text: string) => void): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    socket.once("error", reject);
    socket.once("open", () => {
      socket.send(JSON.stringify({ id: 1, connect: { token } }));
    });
    socket.on("message", (data: Buffer) => {
      for (const line of data.toString().split("\n")) {
        if (line === "{}") socket.send("{}");
        else if (line.startsWith('{"id":1,"connect"')) resolve(socket);
        else if (line.startsWith('{"id":1,')) reject(new Error(`not connected: ${line}`));
        else {
          const text = /"type":"message\.created".*"text":"([^"]*)"/.exec(line)?.[1];
          if (text !== undefined) record(text);
        }
      }
    });
  });
}
