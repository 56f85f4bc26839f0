import { CLOSE, REPLY_ERROR } from "../../protocol/codes.ts";
import type { CommandOf } from "../../protocol/commands.ts";
import { connect, type ConnectDeps } from "../connect.ts";
import type { Connection, Request } from "../connection.ts";
import { refresh } from "./refresh.ts";
import { runSubscribes, type Subscribe } from "./run-subscribes.ts";

/** Runs the command at the front, or all subscribes at the front together, and removes them. Never throws. */
export async function runCommands(
  deps: ConnectDeps,
  connection: Connection,
  requests: Request[],
): Promise<void> {
  const [first] = requests;
  if (!first) return;
  if (connection.state === "failed") {
    requests.length = 0;
  } else if ((first.method === "connect") !== (connection.state === "new")) {
    connection.close(CLOSE.badRequest);
  } else if (first.method === "subscribe") {
    await runSubscribes(deps, connection, takeSubscribes(requests));
  } else {
    requests.shift();
    await runOne(deps, connection, first);
  }
}

function takeSubscribes(requests: Request[]): Subscribe[] {
  const end = requests.findIndex(({ method }) => method !== "subscribe");
  return requests
    .splice(0, end === -1 ? requests.length : end)
    .filter((command) => command.method === "subscribe");
}

async function runOne(
  deps: ConnectDeps,
  connection: Connection,
  command: Exclude<Request, Subscribe>,
): Promise<void> {
  switch (command.method) {
    case "connect":
      return connect(deps, connection, command);
    case "refresh":
      return refresh(deps, connection, command);
    case "unsubscribe":
      unsubscribe(connection, command);
      return;
    case "ping":
      connection.send({ kind: "reply", id: command.id, method: "ping" });
      return;
    case "publish":
      connection.refuse(command.id, REPLY_ERROR.permissionDenied);
      return;
    default:
      connection.refuse(command.id, REPLY_ERROR.notAvailable);
  }
}

function unsubscribe(connection: Connection, { id, request }: CommandOf<"unsubscribe">): void {
  const subscription = connection.subscriptions.get(request.channel);
  if (subscription) {
    connection.detach(subscription.topic, null);
    connection.optOut(request.channel);
  }
  connection.send({ kind: "reply", id, method: "unsubscribe" });
}
