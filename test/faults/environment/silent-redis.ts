import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A proxy of Redis. It accepts the commands of silenced connections and never answers them. */
export type SilentRedis = {
  url: string;
  /** Silences every connection that has sent, or will send, a text that matches. */
  silence: (sent: RegExp) => void;
  /** The number of connections silenced so far. */
  silenced: () => number;
  close: () => Promise<void>;
};

/** The beginning of a connection, in which it sends its name. */
const KEPT_BYTES = 64_000;

type Pair = { near: Socket; far: Socket; sent: string; isSilent: boolean };

export async function openSilentRedis(targetUrl: string): Promise<SilentRedis> {
  const target = new URL(targetUrl);
  const pairs = new Set<Pair>();
  let silent: RegExp | null = null;
  let silenced = 0;
  const silenceIfMatched = (pair: Pair) => {
    if (pair.isSilent || !silent?.test(pair.sent)) return;
    pair.isSilent = true;
    silenced++;
  };
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ port: Number(target.port), host: target.hostname, noDelay: true });
    const pair: Pair = { near, far, sent: "", isSilent: false };
    pairs.add(pair);
    // A command may arrive in parts, so the parts are kept as one text.
    near.on("data", (data) => {
      pair.sent = (pair.sent + data.toString("latin1")).slice(0, KEPT_BYTES);
      silenceIfMatched(pair);
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
      for (const pair of pairs) silenceIfMatched(pair);
    },
    silenced: () => silenced,
    close: async () => {
      for (const { near } of pairs) near.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
