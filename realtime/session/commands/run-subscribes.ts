import { errorText } from "../../../shared/contract/errors.ts";
import { REPLY_ERROR, type ReplyError } from "../../protocol/codes.ts";
import { rejectsUnrecovered, type CommandOf } from "../../protocol/commands.ts";
import { liveChannelOf, type StreamTop, type TopicRef } from "../../channels/topic-ref.ts";
import type { ConnectDeps } from "../connect.ts";
import type { Connection } from "../connection.ts";
import { subscribe, type Want } from "../subscribe.ts";

export type Subscribe = CommandOf<"subscribe">;

/** Runs subscribe commands together. Every one gets its reply. Never throws. */
export async function runSubscribes(
  deps: ConnectDeps,
  connection: Connection,
  commands: readonly Subscribe[],
): Promise<void> {
  const { identity } = connection;
  if (!identity) return;
  const userId = identity.userRef.id;
  const unanswered = refuseDuplicates(deps, connection, commands);
  try {
    const rooms = await deps.policy.findRooms(userId, [...unanswered.keys()]);
    const refs = new Map<string, TopicRef>(
      [identity.userRef, ...rooms.map(({ ref }) => ref)].map((ref) => [ref.channel, ref]),
    );
    const granted = [...unanswered.values()].flatMap((command) => {
      const ref = refs.get(command.request.channel);
      if (!ref) connection.refuse(command.id, REPLY_ERROR.permissionDenied);
      return ref ? [{ command, want: createWant(ref, command) }] : [];
    });
    for (const channel of unanswered.keys()) if (!refs.has(channel)) unanswered.delete(channel);
    if (granted.length === 0 || connection.isClosed) return;
    const wants = granted.map(({ want }) => want);
    await subscribe(deps, {
      ...{ connection, userId, wants, isServerSide: false },
      readTops: () =>
        readTops(
          deps,
          userId,
          wants.map(({ ref }) => ref),
        ),
      reply: (outcomes) => {
        for (const [index, outcome] of outcomes.entries()) {
          const id = granted[index]?.command.id ?? 0;
          unanswered.delete(outcome.ref.channel);
          if ("result" in outcome)
            connection.send({ kind: "reply", id, method: "subscribe", result: outcome.result });
          else connection.refuse(id, REFUSALS[outcome.refusal]);
        }
      },
    });
  } catch (error) {
    deps.log.warn({ connection: connection.id, reason: errorText(error) }, "subscribing failed");
    for (const { id } of unanswered.values()) connection.refuse(id, REPLY_ERROR.internal);
  }
}

const REFUSALS = {
  denied: REPLY_ERROR.permissionDenied,
  duplicate: REPLY_ERROR.alreadySubscribed,
  unrecoverable: REPLY_ERROR.unrecoverable,
} as const satisfies Record<string, ReplyError>;

/** Refuses duplicates and channels over the limit. Returns the other commands, by channel. */
function refuseDuplicates(
  { limits }: ConnectDeps,
  connection: Connection,
  commands: readonly Subscribe[],
): Map<string, Subscribe> {
  const accepted = new Map<string, Subscribe>();
  for (const command of commands) {
    const { channel } = command.request;
    if (connection.subscriptions.has(channel) || accepted.has(channel))
      connection.refuse(command.id, REPLY_ERROR.alreadySubscribed);
    else if (connection.subscriptionCount + accepted.size >= limits.channels)
      connection.refuse(command.id, REPLY_ERROR.limitExceeded);
    else accepted.set(channel, command);
  }
  return accepted;
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
