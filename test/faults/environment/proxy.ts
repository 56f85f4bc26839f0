import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A link between two programs that can be broken. */
export type Link = {
  port: number;
  /** Resets what is open and takes nothing new. */
  cut: () => void;
  /** Nothing comes through any more, either way, and nobody is told; `heal` lets it go on. */
  freeze: () => void;
  /** What is open stays open and brings nothing any more, for good; what comes new passes. */
  abandon: () => void;
  heal: () => void;
  close: () => Promise<void>;
};

type Pair = { near: Socket; far: Socket | null; isAbandoned: boolean };

/**
 * Opens a link to the ports of 127.0.0.1 that `targets` names: the first that answers takes a connection, beginning
 * with another one each time, as a balancer does.
 */
export async function openLink(targets: () => readonly number[], wishedPort = 0): Promise<Link> {
  const pairs = new Set<Pair>();
  let state: "whole" | "cut" | "frozen" = "whole";
  let turn = 0;
  const flow = (pair: Pair) => {
    // What comes before the far side is there waits for it.
    if (pair.far === null) return;
    for (const socket of [pair.near, pair.far]) {
      if (state === "frozen" || pair.isAbandoned) socket.pause();
      else socket.resume();
    }
  };
  const server = createServer({ pauseOnConnect: true, noDelay: true }, (near) => {
    near.on("error", () => undefined);
    if (state === "cut") {
      near.resetAndDestroy();
      return;
    }
    const pair: Pair = { near, far: null, isAbandoned: false };
    pairs.add(pair);
    near.once("close", () => {
      pairs.delete(pair);
      pair.far?.destroy();
    });
    const ports = targets();
    const order = ports.map((_, index) => ports[(index + turn) % ports.length] ?? 0);
    turn++;
    void connectFirst(order).then((far) => {
      if (far === null || near.destroyed) {
        near.resetAndDestroy();
        far?.destroy();
        return;
      }
      pair.far = far;
      join(pair);
      flow(pair);
    });
  });
  server.listen(wishedPort, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const breakAll = () => {
    for (const { near, far } of pairs) {
      near.resetAndDestroy();
      far?.resetAndDestroy();
    }
  };
  const become = (next: typeof state) => {
    state = next;
    for (const pair of pairs) flow(pair);
  };
  return {
    port: typeof address === "object" && address ? address.port : 0,
    cut: () => {
      become("cut");
      breakAll();
    },
    freeze: () => {
      become("frozen");
    },
    abandon: () => {
      for (const pair of pairs) pair.isAbandoned = true;
      become(state);
    },
    heal: () => {
      become("whole");
    },
    close: async () => {
      breakAll();
      server.close();
      await once(server, "close");
    },
  };
}

/** Passes bytes both ways, each side waiting for the other; the end or break of one is the other's. */
function join({ near, far }: Pair): void {
  if (!far) return;
  far.once("close", () => near.resetAndDestroy());
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const) {
    from.on("data", (data) => to.write(data));
    from.once("end", () => to.end());
  }
}

async function connectFirst(ports: readonly number[]): Promise<Socket | null> {
  for (const port of ports) {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    socket.on("error", () => undefined);
    const isOpen = await Promise.race([
      once(socket, "connect").then(() => true),
      once(socket, "close").then(() => false),
    ]).catch(() => false);
    if (isOpen) return socket;
    socket.destroy();
  }
  return null;
}
