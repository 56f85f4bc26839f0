import { connect } from "node:net";

/**
 * Whether a Postgres accepts connections: it answers a start-up message with an authentication request or refuses
 * the user. A Postgres that is still starting answers 57P03.
 * @param {{host: string, port: number, limitMs?: number}} given
 * @returns {Promise<boolean>}
 */
export function isPostgresReady({ host, port, limitMs = 2_000 }) {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (/** @type {boolean} */ ready) => {
      socket.destroy();
      resolve(ready);
    };
    socket.setTimeout(limitMs, () => settle(false));
    socket.once("error", () => settle(false));
    socket.once("close", () => settle(false));
    socket.once("connect", () => socket.write(startupMessage()));
    // "cannot connect now" is the state of a server that starts, stops or recovers.
    socket.once("data", (answer) => settle(answer[0] === 0x52 || !answer.includes("57P03")));
  });
}

function startupMessage() {
  const body = Buffer.from("user\0openmeet\0database\0openmeet\0\0");
  const head = Buffer.alloc(8);
  head.writeInt32BE(head.length + body.length, 0);
  head.writeInt32BE(196_608, 4); // protocol 3.0
  return Buffer.concat([head, body]);
}
