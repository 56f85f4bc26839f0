import { AppError, errorText } from "../../shared/contract/errors.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { FairQueue } from "../../shared/platform/concurrency/fair-queue.ts";
import { CLOSE, CONNECT_REFUSAL, REPLY_ERROR } from "../protocol/codes.ts";
import type { CommandOf } from "../protocol/commands.ts";
import type { ConnectResult, StreamPosition } from "../protocol/frames.ts";
import { requireActive } from "../policy/authentication.ts";
import type { Allowed, AwaitTurn, Identity, Policy, Rights } from "../policy/policy.ts";
import { liveChannelOf, type TopicRef } from "../channels/topic-ref.ts";
import type { SocketQuotas } from "../quotas/socket-quotas.ts";
import type { Connection } from "./connection.ts";
import { subscribe, type Outcome, type SubscribeDeps, type Want } from "./subscribe.ts";

export type ConnectDeps = SubscribeDeps & {
  policy: Policy;
  /** The connects that run, by turns over tenants and their users. */
  turns: FairQueue;
  quotas: Pick<SocketQuotas, "admit" | "leave">;
  log: Log;
  version: string;
  /** Reviews a connection whose rooms may have changed while it was connecting. */
  controlMessages: { reviewInBackground: (connection: Connection) => void };
};

type Connect = CommandOf<"connect">;

/** Authenticates a connection, subscribes its user's rooms, and replies with what it missed in each. */
export async function connect(deps: ConnectDeps, connection: Connection, command: Connect): Promise<void> {
  if (command.request.token === "") {
    connection.close(CLOSE.badRequest);
    return;
  }
  connection.state = "connecting";
  let leave: () => void = () => undefined;
  const awaitTurn: AwaitTurn = async ({ tenantId, user }) => {
    connection.verified();
    leave = await deps.turns.enter(tenantId, user);
    if (connection.isClosed) throw new AppError("unavailable", "The client has left.");
  };
  try {
    const allowed = await deps.policy.allow(command.request.token, connection.origin, awaitTurn);
    if (!connection.isClosed) await authorize(deps, connection, allowed, command);
  } catch (error) {
    deps.quotas.leave(connection.id);
    refuse(deps, connection, command, error);
  } finally {
    leave();
  }
}

/** Takes a place for a socket. */
async function admit({ quotas, limits }: ConnectDeps, connection: Connection, identity: Identity) {
  const { userRef, tenantId, sockets } = identity;
  await quotas.admit({
    connectionId: connection.id,
    userId: userRef.id,
    tenantId,
    userSockets: sockets.ofUser ?? limits.userSockets,
    tenantSockets: sockets.ofTenant ?? limits.tenantSockets,
    close: () => {
      connection.close(CLOSE.connectionLimit);
    },
  });
}

async function authorize(
  deps: ConnectDeps,
  connection: Connection,
  { identity, rights: planned }: Allowed,
  { id, request }: Connect,
): Promise<void> {
  const { policy, hub, streams, quotas } = deps;
  const { userRef } = identity;
  await admit(deps, connection, identity);
  // The client may have closed meanwhile.
  if (connection.isClosed) {
    quotas.leave(connection.id);
    return;
  }
  connection.identity = identity;
  hub.addUser(connection, userRef);
  let rights = planned;
  const asked = new Map(Object.entries(request.subs).flatMap(askedPosition));
  await subscribe(deps, {
    connection,
    userId: userRef.id,
    wants: planWants(deps, planned, userRef, asked),
    isServerSide: true,
    readTops: async () => {
      const [newest, tops] = await Promise.all([policy.rightsOf(userRef.id), streams.tops([userRef])]);
      rights = requireActive(identity, newest);
      for (const { ref, top } of rights.grants) tops.set(liveChannelOf(ref), top);
      return tops;
    },
    reply: (outcomes) => {
      const nowMs = Date.now();
      if (outcomes.some((outcome) => "refusal" in outcome)) connection.needsReview = true;
      // A token is accepted a little after its end. The client still has the whole delay to refresh.
      connection.expiresAtMs = Math.max(identity.expiresAtMs, nowMs);
      connection.connected();
      connection.membershipVersion = rights.membershipVersion;
      const result = createResult(deps, connection, outcomes, identity.expiresAtMs - nowMs);
      connection.send({ kind: "reply", id, method: "connect", result });
    },
  });
  if (rights.membershipVersion !== planned.membershipVersion) connection.needsReview = true;
  if (connection.needsReview) deps.controlMessages.reviewInBackground(connection);
}

function askedPosition([channel, position]: [string, Connect["request"]["subs"][string]]): [
  string,
  StreamPosition,
][] {
  return position.recover ? [[channel, { epoch: position.epoch, offset: position.offset }]] : [];
}

/** The user's own channel and the most recently active rooms, as many as the client can name in its next connect. */
function planWants(
  { limits }: ConnectDeps,
  rights: Rights,
  userRef: TopicRef,
  asked: ReadonlyMap<string, StreamPosition>,
): Want[] {
  let left = limits.connectBytes;
  return [userRef, ...rights.grants.map(({ ref }) => ref)].flatMap((ref) => {
    left -= connectBytes(ref);
    return left < 0 ? [] : [{ ref, asked: asked.get(ref.channel) ?? null, rejectsUnrecovered: false }];
  });
}

const POSITION_BYTES = '"":{"recover":true,"offset":9007199254740991,"epoch":""},'.length + 36;

/** The bytes of a subscription by the server in the client's next connect command. */
export function connectBytes({ channel }: TopicRef): number {
  return POSITION_BYTES + channel.length;
}

function createResult(
  deps: ConnectDeps,
  connection: Connection,
  outcomes: readonly Outcome[],
  leftMs: number,
): ConnectResult {
  return {
    client: connection.id,
    version: deps.version,
    ttlS: Math.max(1, Math.floor(leftMs / 1_000)),
    pingS: Math.ceil(deps.limits.pingMs / 1_000),
    session: connection.session,
    subs: outcomes.flatMap((outcome) =>
      "result" in outcome ? [{ channel: outcome.ref.channel, result: outcome.result }] : [],
    ),
  };
}

function refuse(deps: ConnectDeps, connection: Connection, { id }: Connect, error: unknown): void {
  if (connection.isClosed) return;
  const refusal = error instanceof AppError ? CONNECT_REFUSAL[error.code] : { error: REPLY_ERROR.internal };
  if ("close" in refusal) {
    connection.close(refusal.close);
    return;
  }
  // An outage has its own log line: no further one for each client.
  if (!(error instanceof AppError)) {
    deps.log.warn({ connection: connection.id, reason: errorText(error) }, "connecting failed");
  }
  connection.state = "failed";
  connection.refuse(id, refusal.error);
}
