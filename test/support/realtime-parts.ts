import { CatchUp } from "../../realtime/channels/catch-up.ts";
import { Connection, type ConnectionDeps } from "../../realtime/session/connection.ts";
import { deliver, type DeliverDeps } from "../../realtime/channels/deliver.ts";
import { RealtimeMetrics } from "../../realtime/metrics.ts";
import { Hub } from "../../realtime/channels/hub.ts";
import { LIMITS } from "../../realtime/limits.ts";
import { Flusher } from "../../realtime/session/flusher.ts";
import { jsonCodec } from "../../realtime/protocol/json/codec.ts";
import { RedisSubscriptions } from "../../realtime/broker/redis-subscriptions.ts";
import { Streams } from "../../realtime/channels/streams.ts";
import { subscribe, type Outcome } from "../../realtime/session/subscribe.ts";
import { liveChannelOf, type TopicRef } from "../../realtime/channels/topic-ref.ts";
import type { Payload } from "../../realtime/protocol/frames.ts";
import type { GrantRow } from "../../shared/db/memberships/subscription-rights.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { createLog } from "../../shared/platform/log.ts";
import { createMetrics } from "../../shared/platform/metrics.ts";
import { formatRoomKey } from "../../shared/contract/names.ts";
import { openSubscriberRedis, waitForRedis } from "../../shared/platform/redis.ts";
import { waitFor } from "./centrifuge.ts";
import type { World } from "./realtime.ts";

const log = createLog({ level: "silent", tier: "test" });

/** A user with a connection. */
export type Person = { id: string; connection: Connection; received: () => string[] };

/** The tier's parts between Redis and the sockets, in the test's own process, where a test can delay what they read. */
export type Parts = {
  hub: Hub<Connection>;
  person: (name: string) => Promise<Person>;
  /** Subscribes on the server's side; `readGrants` returns what the person may read. */
  subscribe: (room: Room, person: Person, readGrants: () => Promise<GrantRow[]>) => Promise<Outcome>;
  close: () => void;
};

export async function openParts(world: World): Promise<Parts> {
  const redis = openSubscriberRedis(world.redisUrl, log, "test-parts");
  await waitForRedis(redis, 5_000);
  const metrics = new RealtimeMetrics(createMetrics());
  const live = new RedisSubscriptions(redis);
  const hub = new Hub<Connection>(live, { note: () => undefined });
  const streams = new Streams({ db: world.db, redis: world.redis, metrics });
  const catchUp = new CatchUp({ hub, streams, metrics, log, unreadBytes: LIMITS.queueBytes / 4 });
  const delivery: DeliverDeps = {
    ...{ hub, catchUp, metrics, log },
    controlMessages: { handle: () => undefined },
    antiEntropy: { suspect: () => undefined },
  };
  live.start({
    onMessage: (channel, text) => {
      deliver(delivery, channel, text);
    },
    onRestored: () => undefined,
  });
  await waitFor(() => live.isReady);
  return {
    hub,
    person: async (name) => openPerson(hub, { id: await world.user(name), channel: `user:${name}` }),
    subscribe: async (room, { id, connection }, readGrants) => {
      const ref: TopicRef = { kind: "room", id: room.id, channel: formatRoomKey(room) };
      let replied: Outcome[] = [];
      await subscribe(
        { hub, live, streams, catchUp, limits: LIMITS, metrics },
        {
          ...{ connection, userId: id, isServerSide: true },
          wants: [{ ref, asked: null, rejectsUnrecovered: false }],
          readTops: async () =>
            new Map(
              (await readGrants()).map(({ epoch, last_number: number, sent_number: sentUpTo }) => [
                liveChannelOf(ref),
                { epoch, number, sentUpTo },
              ]),
            ),
          reply: (outcomes) => {
            replied = outcomes;
          },
        },
      );
      const [outcome] = replied;
      if (!outcome) throw new Error("nothing was replied");
      return outcome;
    },
    close: () => {
      for (const connection of [...hub.connections]) connection.closed(1_006);
      redis.disconnect();
    },
  };
}

function openPerson(hub: Hub<Connection>, { id, channel }: { id: string; channel: string }): Person {
  const frames: string[] = [];
  const socket = {
    write: (payload: Payload) => void frames.push(String(payload)),
    bufferedBytes: () => 0,
    close: () => undefined,
    terminate: () => undefined,
  };
  const deps: ConnectionDeps = {
    ...{ hub, flusher: new Flusher(), limits: LIMITS },
    run: () => Promise.resolve(),
    onClosed: () => undefined,
    onRefused: () => undefined,
  };
  const connection = new Connection(
    socket,
    { origin: null, codec: jsonCodec, leaveAddress: () => undefined },
    deps,
  );
  connection.identity = {
    userRef: { kind: "user", id, channel },
    expiresAtMs: Number.MAX_SAFE_INTEGER,
    tenantId: "",
    stamp: { issuedAtMs: 0, generation: null },
    sockets: { ofUser: undefined, ofTenant: undefined },
  };
  return { id, connection, received: () => frames.flatMap((frame) => frame.split("\n")) };
}
