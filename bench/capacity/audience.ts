import { WebSocket } from "ws";

/** Many sockets of a few people, which only count what they hear: cheap, so that it is not they who are measured. */
export type Audience = {
  /** Sockets that heard a text since it was last asked for, with the times of the first and the last of them. */
  heard: (text: string) => { sockets: number; firstAtMs: number; lastAtMs: number };
  close: () => Promise<void>;
};

type Seen = ReturnType<Audience["heard"]>;

const AT_ONCE = 50;
const NOBODY: Seen = { sockets: 0, firstAtMs: 0, lastAtMs: 0 };

/** Opens `count` sockets, in turn for each token; resolves when every one is connected. */
export async function openAudience(
  socketUrl: string,
  tokens: readonly string[],
  count: number,
): Promise<Audience> {
  const seen = new Map<string, Seen>();
  const note = (text: string) => {
    const atMs = performance.now();
    const before = seen.get(text) ?? { ...NOBODY, firstAtMs: atMs };
    seen.set(text, { ...before, sockets: before.sockets + 1, lastAtMs: atMs });
  };
  const sockets: WebSocket[] = [];
  for (let opened = 0; opened < count; opened += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - opened) }, (_, index) =>
      openSocket(socketUrl, tokens[(opened + index) % tokens.length] ?? "", note),
    );
    sockets.push(...(await Promise.all(some)));
  }
  return {
    heard: (text) => seen.get(text) ?? NOBODY,
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

/** One socket that speaks the little of the protocol that listening needs: connect, and pong for every ping. */
function openSocket(url: string, token: string, note: (text: string) => void): Promise<WebSocket> {
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
          if (text !== undefined) note(text);
        }
      }
    });
  });
}
