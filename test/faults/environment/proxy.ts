import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A breakable connection between two programs. */
export type Link = {
  port: number;
  /** Resets open connections and refuses new ones. */
  cut: () => void;
  /** Passes no byte in either direction until `heal`; the connections stay open. */
  freeze: () => void;
  /** Open connections stay open and pass nothing from now on; new connections work. */
  abandon: () => void;
  heal: () => void;
  close: () => Promise<void>;
};

type Pair = { near: Socket; far: Socket | null; isAbandoned: boolean };

/**
 * Opens a link to the ports of 127.0.0.1 that `targets` names: a connection goes to the first that accepts it,
 * beginning with another port each time, as a balancer does.
 */
export async function openLink(targets: () => readonly number[], port = 0): Promise<Link> {
  const pairs = new Set<Pair>();
  let state: "whole" | "cut" | "frozen" = "whole";
  let nextTarget = 0;
  const applyState = (pair: Pair) => {
    // Until the far side is connected, the near side stays paused.
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
    const order = ports.map((_, index) => ports[(index + nextTarget) % ports.length] ?? 0);
    nextTarget++;
    void connectFirst(order).then((far) => {
      if (far === null || near.destroyed) {
        near.resetAndDestroy();
        far?.destroy();
        return;
      }
      pair.far = far;
      join(pair);
      applyState(pair);
    });
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const breakAll = () => {
    for (const { near, far } of pairs) {
      near.resetAndDestroy();
      far?.resetAndDestroy();
    }
  };
  const setState = (next: typeof state) => {
    state = next;
    for (const pair of pairs) applyState(pair);
  };
  return {
    port: typeof address === "object" && address ? address.port : 0,
    cut: () => {
      setState("cut");
      breakAll();
    },
    freeze: () => {
      setState("frozen");
    },
    abandon: () => {
      for (const pair of pairs) pair.isAbandoned = true;
      setState(state);
    },
    heal: () => {
      setState("whole");
    },
    close: async () => {
      breakAll();
      server.close();
      await once(server, "close");
    },
  };
}

/** Passes bytes in both directions. When one side ends or breaks, the other one does too. */
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
