import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A proxy before a server, which makes the server unreachable. */
export type Proxy = {
  url: string;
  /** Breaks open connections and refuses new ones. */
  cut: () => void;
  /** Connections that are open, or are opened before `restore`, stay open and receive nothing any more. */
  mute: () => void;
  restore: () => void;
  close: () => Promise<void>;
};

export async function openProxy(target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target);
  const open = new Set<Socket>();
  const muters = new Set<() => void>();
  let state: "open" | "cut" | "mute" = "open";
  const server = createServer((near) => {
    if (state === "cut") {
      near.destroy();
      return;
    }
    const far = connect(Number(port), hostname);
    let isMute = state === "mute";
    muters.add(() => (isMute = true));
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        open.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.on("data", (data) => far.write(data));
    far.on("data", (data) => {
      if (!isMute) near.write(data);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const url = new URL(target);
  url.hostname = "127.0.0.1";
  url.port = String(typeof address === "object" && address ? address.port : 0);
  const breakAll = () => {
    for (const socket of open) socket.destroy();
  };
  return {
    url: url.href,
    cut: () => {
      state = "cut";
      breakAll();
    },
    mute: () => {
      state = "mute";
      for (const mute of muters) mute();
    },
    restore: () => {
      state = "open";
    },
    close: async () => {
      breakAll();
      server.close();
      await once(server, "close");
    },
  };
}
