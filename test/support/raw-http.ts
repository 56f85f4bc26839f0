import { connect, type Socket } from "node:net";

/** Sends bytes to a port and returns what comes back until the first answer is there or the connection ends. */
export async function sendRaw(port: number, text: string): Promise<string> {
  const client = openRaw(port, text);
  await Promise.race([client.endedAfterMs(), client.answered]);
  client.socket.destroy();
  return client.received();
}

/** A connection that sends some bytes and then nothing. */
export function openRaw(
  port: number,
  text: string,
): { socket: Socket; answered: Promise<void>; received: () => string; endedAfterMs: () => Promise<number> } {
  const startMs = performance.now();
  const socket = connect({ port, host: "127.0.0.1" });
  let received = "";
  socket.on("error", () => undefined);
  const answered = new Promise<void>((resolve) => {
    socket.on("data", (data) => {
      received += data.toString("latin1");
      if (received.includes("\r\n\r\n")) resolve();
    });
  });
  // Also after an error, such as a reset.
  const closed = new Promise<number>((resolve) => {
    socket.once("close", () => {
      resolve(performance.now() - startMs);
    });
  });
  socket.write(text);
  return { socket, answered, received: () => received, endedAfterMs: () => closed };
}
