import { once } from "node:events";
import { connect } from "node:net";

const ANSWER_MS = 1_000;

/**
 * Checks a port before several processes share it. Without a host, the port of the whole machine.
 * @throws when another program listens on it.
 */
export async function requireFreePort(port: number, host = "127.0.0.1"): Promise<void> {
  const socket = connect({ port, host, signal: AbortSignal.timeout(ANSWER_MS) });
  try {
    await once(socket, "connect");
  } catch {
    return;
  } finally {
    socket.destroy();
  }
  throw new Error(`port ${port} is taken: another process listens on it`);
}
