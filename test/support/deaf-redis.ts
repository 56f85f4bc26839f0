import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A way to Redis that falls silent for some connections: they stay open and bring nothing, as do those that replace them. */
export type DeafRedis = {
  url: string;
  /** From now on, for connections that sent or will send what matches. */
  silence: (sent: RegExp) => void;
  /** Connections that were silenced. */
  silenced: () => number;
  close: () => Promise<void>;
};

/** Of each connection's beginning, where it says its name: a connection is known by it. */
const KEPT_BYTES = 64_000;

type Pair = { near: Socket; far: Socket; sent: string; isSilent: boolean };

export async function openDeafRedis(targetUrl: string): Promise<DeafRedis> {
  const target = new URL(targetUrl);
  const pairs = new Set<Pair>();
  let silent: RegExp | null = null;
  let silenced = 0;
  const judge = (pair: Pair) => {
    if (pair.isSilent || !silent?.test(pair.sent)) return;
    pair.isSilent = true;
    silenced++;
  };
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ port: Number(target.port), host: target.hostname, noDelay: true });
    const pair: Pair = { near, far, sent: "", isSilent: false };
    pairs.add(pair);
    // A command may come in parts: what was sent is read as one text.
    near.on("data", (data) => {
      pair.sent = (pair.sent + data.toString("latin1")).slice(0, KEPT_BYTES);
      judge(pair);
      if (!pair.isSilent) far.write(data);
    });
    far.on("data", (data) => {
      if (!pair.isSilent) near.write(data);
    });
    for (const socket of [near, far]) {
      socket.on("error", () => undefined);
      socket.once("close", () => {
        pairs.delete(pair);
        near.destroy();
        far.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const url = new URL(targetUrl);
  url.hostname = "127.0.0.1";
  url.port = String(typeof address === "object" ? address?.port : 0);
  return {
    url: url.href,
    silence: (sent) => {
      silent = sent;
      for (const pair of pairs) judge(pair);
    },
    silenced: () => silenced,
    close: async () => {
      for (const { near } of pairs) near.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
