import { openRawClient } from "../attacks/raw-client.ts";
import { runInFlight } from "../wait.ts";
import { createArrivals } from "./arrivals.ts";
import { nowMs } from "./clock.ts";
import { readLine, type Line } from "./lines.ts";
import { receiverTask, type FromReceiver, type ReceiverTask } from "./receiver.ts";

/**
 * The sockets of the people of the burst, in a process of their own: they connect, answer pings and count. All sockets of a
 * room receive the same lines, so each is parsed once.
 */
const OPENED_AT_ONCE = 20;
const CONNECT_LIMIT_MS = 30_000;
const REPORT_MS = 250;
const MAX_KNOWN_LINES = 1_000;

process.once("message", (message) => {
  run(receiverTask.parse(message)).catch((error: unknown) => {
    process.stderr.write(`receiver: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  });
});

async function run({ socketUrl, room, tokens, messages }: ReceiverTask): Promise<void> {
  const arrivals = createArrivals(tokens.length, messages);
  let closed = 0;
  const read = createReader(room);
  const open = (socket: number) =>
    connect({
      socketUrl,
      room,
      token: tokens[socket] ?? "",
      onLine: (text) => {
        const atMs = nowMs();
        const line = read(text);
        if (line !== null) arrivals.add(socket, { ...line, atMs });
      },
      onEnd: () => closed++,
    });
  await runInFlight(tokens.length, OPENED_AT_ONCE, open);
  const send = (report: FromReceiver) => process.send?.(report);
  send({ type: "connected" });
  setInterval(() => send({ type: "progress", numbered: arrivals.numbered() }), REPORT_MS);
  process.once("message", () => {
    process.send?.({ type: "result", closed, ...arrivals.counts() } satisfies FromReceiver, () =>
      process.exit(0),
    );
  });
}

function createReader(room: string): (text: string) => Line | null {
  const known = new Map<string, Line | null>();
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    if (known.size >= MAX_KNOWN_LINES) known.clear();
    const line = readLine(text, room);
    known.set(text, line);
    return line;
  };
}

type Connection = {
  socketUrl: string;
  room: string;
  token: string;
  onLine: (text: string) => void;
  onEnd: () => void;
};

/** Resolves when the server has subscribed the socket to the room. */
async function connect({ socketUrl, room, token, onLine, onEnd }: Connection): Promise<void> {
  let finish: (error: string | null) => void = () => undefined;
  const connected = new Promise<string | null>((resolve) => (finish = resolve));
  const timer = setTimeout(() => {
    finish("no reply to a connect");
  }, CONNECT_LIMIT_MS);
  const client = await openRawClient({
    url: socketUrl,
    onText: (frame) => {
      for (const line of frame.split("\n")) {
        if (line === "{}") client.sendText("{}");
        else if (line.startsWith('{"id":1,'))
          finish(
            line.includes(`"subs":`) && line.includes(JSON.stringify(room)) ? null : `not connected: ${line}`,
          );
        else onLine(line);
      }
    },
    onEnd,
  });
  client.sendText(JSON.stringify({ id: 1, connect: { token } }));
  const error = await connected;
  clearTimeout(timer);
  if (error !== null) throw new Error(error);
}
