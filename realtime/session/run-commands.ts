import { AppError, errorText } from "../../shared/contract/errors.ts";
import { CLOSE, CONNECT_REFUSAL, REPLY_ERROR, type ReplyError } from "../protocol/codes.ts";
import { connect, type ConnectDeps } from "./connect.ts";
import type { Connection, Request } from "./connection.ts";
import { formatReply, formatSubscribeResult, rejectsUnrecovered, type CommandOf } from "../protocol/json.ts";
import { subscribe, type Want } from "./subscribe.ts";
import { liveChannelOf, type StreamTop, type TopicRef } from "../channels/topic.ts";

type Subscribe = CommandOf<"subscribe">;

/** Runs what is at the front of a connection's commands: one, or all subscribes that follow each other. Never throws. */
export async function runCommands(
  deps: ConnectDeps,
  connection: Connection,
  waiting: Request[],
): Promise<void> {
  const [first] = waiting;
  if (!first) return;
  if (connection.state === "failed") {
    waiting.length = 0;
  } else if ((first.method === "connect") !== (connection.state === "new")) {
    connection.close(CLOSE.badRequest);
  } else if (first.method === "subscribe") {
    await runSubscribes(deps, connection, takeSubscribes(waiting));
  } else {
    waiting.shift();
    await runOne(deps, connection, first);
  }
}

function takeSubscribes(waiting: Request[]): Subscribe[] {
  const end = waiting.findIndex(({ method }) => method !== "subscribe");
  return waiting
    .splice(0, end === -1 ? waiting.length : end)
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
      connection.send(formatReply(command.id, "ping", "{}"));
      return;
    case "publish":
      connection.refuse(command.id, REPLY_ERROR.permissionDenied);
      return;
    default:
      connection.refuse(command.id, REPLY_ERROR.notAvailable);
  }
}

/** A new token of the same user lets the connection live on. */
async function refresh(
  { policy, log }: ConnectDeps,
  connection: Connection,
  { id, request }: CommandOf<"refresh">,
): Promise<void> {
  try {
    const identity = await policy.authenticate(request.token, connection.origin);
    if (identity.userRef.id !== connection.userId) {
      connection.close(CLOSE.invalidToken);
      return;
    }
    const nowMs = Date.now();
    connection.expiresAtMs = Math.max(identity.expiresAtMs, nowMs);
    const ttl = Math.max(1, Math.floor((identity.expiresAtMs - nowMs) / 1_000));
    connection.send(
      formatReply(id, "refresh", JSON.stringify({ client: connection.id, expires: true, ttl })),
    );
  } catch (error) {
    const refusal = error instanceof AppError ? CONNECT_REFUSAL[error.code] : { error: REPLY_ERROR.internal };
    if ("close" in refusal) connection.close(refusal.close);
    else if (refusal.error === REPLY_ERROR.tokenExpired) connection.refuse(id, REPLY_ERROR.refreshExpired);
    else {
      log.warn({ connection: connection.id, reason: errorText(error) }, "refresh failed");
      connection.refuse(id, refusal.error);
    }
  }
}

function unsubscribe(connection: Connection, { id, request }: CommandOf<"unsubscribe">): void {
  const subscription = connection.subscriptions.get(request.channel);
  if (subscription) {
    connection.detach(subscription.topic, null);
    connection.optedOut.add(request.channel);
    if (connection.optedOut.size > 1_024) connection.optedOut.clear();
  }
  connection.send(formatReply(id, "unsubscribe", "{}"));
}

async function runSubscribes(
  deps: ConnectDeps,
  connection: Connection,
  commands: readonly Subscribe[],
): Promise<void> {
  const { identity } = connection;
  if (!identity) return;
  const userId = identity.userRef.id;
  const open = refuseDoubles(deps, connection, commands);
  try {
    const rooms = await deps.policy.findRooms(userId, [...open.keys()]);
    const refs = new Map<string, TopicRef>(
      [identity.userRef, ...rooms.map(({ ref }) => ref)].map((ref) => [ref.channel, ref]),
    );
    const known = [...open.values()].flatMap((command) => {
      const ref = refs.get(command.request.channel);
      if (!ref) connection.refuse(command.id, REPLY_ERROR.permissionDenied);
      return ref ? [{ command, want: createWant(ref, command) }] : [];
    });
    for (const channel of open.keys()) if (!refs.has(channel)) open.delete(channel);
    if (known.length === 0 || connection.isClosed) return;
    await subscribe(deps, {
      connection,
      userId,
      wants: known.map(({ want }) => want),
      isServerSide: false,
      readTops: () =>
        readTops(
          deps,
          userId,
          known.map(({ want }) => want.ref),
        ),
      reply: (outcomes) => {
        for (const [index, outcome] of outcomes.entries()) {
          const id = known[index]?.command.id ?? 0;
          open.delete(outcome.ref.channel);
          if ("result" in outcome)
            connection.send(formatReply(id, "subscribe", formatSubscribeResult(outcome.result)));
          else connection.refuse(id, REFUSALS[outcome.refusal]);
        }
      },
    });
  } catch (error) {
    deps.log.warn({ connection: connection.id, reason: errorText(error) }, "subscribing failed");
    for (const { id } of open.values()) connection.refuse(id, REPLY_ERROR.internal);
  }
}

const REFUSALS = {
  denied: REPLY_ERROR.permissionDenied,
  doubled: REPLY_ERROR.alreadySubscribed,
  unrecoverable: REPLY_ERROR.unrecoverable,
} as const satisfies Record<string, ReplyError>;

/** Of the commands, by channel, those for channels that the connection does not have and has room for. */
function refuseDoubles(
  { limits }: ConnectDeps,
  connection: Connection,
  commands: readonly Subscribe[],
): Map<string, Subscribe> {
  const open = new Map<string, Subscribe>();
  for (const command of commands) {
    const { channel } = command.request;
    if (connection.subscriptions.has(channel) || open.has(channel))
      connection.refuse(command.id, REPLY_ERROR.alreadySubscribed);
    else if (connection.subscriptionCount + open.size >= limits.channels)
      connection.refuse(command.id, REPLY_ERROR.limitExceeded);
    else open.set(channel, command);
  }
  return open;
}

function createWant(ref: TopicRef, { request }: Subscribe): Want {
  const asked = request.recover ? { epoch: request.epoch, offset: request.offset } : null;
  return { ref, asked, rejectsUnrecovered: rejectsUnrecovered(request) };
}

async function readTops(
  { policy, streams }: ConnectDeps,
  userId: string,
  refs: readonly TopicRef[],
): Promise<Map<string, StreamTop>> {
  const users = refs.filter(({ kind }) => kind === "user");
  const rooms = refs.filter(({ kind }) => kind === "room").map(({ id }) => id);
  const grants = await policy.grantsOf(userId, rooms);
  const tops = await streams.tops(users);
  for (const { ref, top } of grants) tops.set(liveChannelOf(ref), top);
  return tops;
}
