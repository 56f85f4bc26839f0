import { once } from "node:events";
import { connect } from "node:net";

const ANSWER_MS = 1_000;

/** Processes that share a port would share it with strangers too. @throws when somebody listens on it already. */
export async function requireFreePort(port: number): Promise<void> {
  const socket = connect({ port, host: "127.0.0.1", signal: AbortSignal.timeout(ANSWER_MS) });
  try {
    await once(socket, "connect");
  } catch {
    return;
  } finally {
    socket.destroy();
  }
  throw new Error(`port ${port} is taken: another process listens on it`);
}
