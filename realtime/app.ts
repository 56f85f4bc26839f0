import { errorText } from "../shared/contract/errors.ts";
import { createClientAddresses } from "../shared/auth/client-address.ts";
import { openOrigins } from "../shared/auth/origins.ts";
import { every } from "../shared/platform/concurrency/every.ts";
import { watchProblems, type ProblemWatch } from "../shared/platform/problems/problems.ts";
import { assemble, type AssembleOptions, type Parts } from "./assemble.ts";
import { answerHealth, createRealtimeLook, readReadiness } from "./health.ts";
import { registerHubGauges, registerQuotaGauges, registerTransportGauges } from "./metrics.ts";
import { CODECS, codecOf } from "./protocol/codecs.ts";
import { Connection, type ConnectionDeps } from "./session/connection.ts";
import { checkDeadlines } from "./session/deadlines.ts";
import { drain } from "./session/drain.ts";
import { Flusher } from "./session/flusher.ts";
import { runCommands } from "./session/commands/run-commands.ts";
import { createNetworkReader } from "./quotas/client-networks.ts";
import type { OpenTransport, Transport, TransportName } from "./transport/transport.ts";

export type RealtimeOptions = AssembleOptions & {
  openTransport: OpenTransport;
  port: number;
  /** Absent: every address of the machine. */
  host?: string | undefined;
  isSharedPort: boolean;
  allowedOrigins: readonly string[];
  /** Proxies whose `X-Forwarded-For` names the client's address. */
  trustedProxies: readonly string[];
  /** Reads the text of `/metrics`; with several processes it is the sum of all. */
  readMetrics: () => Promise<string>;
};

export type RealtimeApp = { port: number; transport: TransportName; close: () => Promise<void> };

/** How long the clients have to read the close frames of a shutdown. */
const CLOSE_FRAMES_MS = 250;

/** Opens the tier on its port; `close` drains it. */
export async function openRealtime(options: RealtimeOptions): Promise<RealtimeApp> {
  const { limits, log } = options;
  const parts = assemble(options);
  const { hub } = parts;
  const origins = await openOrigins(options.db, options.allowedOrigins);
  const state = { isDraining: false };
  const problems = watchProblems({ look: createRealtimeLook(options), log });
  const transport = await openTransport(options, parts, {
    isKnownOrigin: origins.isKnown,
    state,
    problems,
  });
  registerHubGauges(options.metrics, parts.deps);
  registerQuotaGauges(options.metrics, { ...parts, turns: parts.deps.turns });
  registerTransportGauges(options.metrics, transport);
  const deadlines = every(
    limits.deadlineCheckMs,
    () => {
      checkDeadlines(hub.connections, limits, Date.now());
    },
    (error) => {
      log.error({ reason: errorText(error) }, "checking deadlines failed");
    },
  );
  return {
    port: transport.port,
    transport: transport.name,
    async close() {
      state.isDraining = true;
      transport.stopAccepting();
      await deadlines.stop();
      await problems.stop();
      origins.close();
      await drain(hub.connections, limits.drainMs);
      parts.antiEntropy.stop();
      parts.heartbeat.stop();
      await Promise.all([parts.quotas.stop(), parts.addresses.stop(), parts.presence.stop()]);
      await new Promise((resolve) => setTimeout(resolve, CLOSE_FRAMES_MS));
      transport.close();
    },
  };
}

async function openTransport(
  options: RealtimeOptions,
  parts: Parts,
  {
    isKnownOrigin,
    state,
    problems,
  }: { isKnownOrigin: (origin: string) => boolean; state: { isDraining: boolean }; problems: ProblemWatch },
): Promise<Transport> {
  const { limits, metrics, redis } = options;
  const { hub, live, addresses } = parts;
  const deps = createConnectionDeps(options, parts);
  const transport: Transport = await options.openTransport({
    port: options.port,
    host: options.host,
    isShared: options.isSharedPort,
    limits,
    subprotocols: CODECS.map(({ subprotocol }) => subprotocol),
    isKnownOrigin,
    readNetwork: createNetworkReader(createClientAddresses(options.trustedProxies)),
    isNetworkFull: (network) => addresses.isFull(network),
    accept: (socket, { origin, subprotocol, network }) =>
      new Connection(
        socket,
        { origin, codec: codecOf(subprotocol), leaveAddress: addresses.enter(network) },
        deps,
      ),
    isFull: () => state.isDraining || hub.connections.size + transport.closingSockets() >= limits.connections,
    onRefused: (reason) => {
      parts.metrics.refusedUpgrade(reason);
    },
    answer: (path) =>
      answerHealth(path, {
        readiness: async () => ({
          ...(await readReadiness({ redis, live, problems }, state.isDraining)),
          transport: transport.name,
        }),
        metrics: { contentType: metrics.contentType, read: options.readMetrics },
      }),
  });
  return transport;
}

function createConnectionDeps(
  { limits, log }: RealtimeOptions,
  { hub, metrics, deps, quotas }: Parts,
): ConnectionDeps {
  return {
    hub,
    flusher: new Flusher(),
    limits,
    run: (connection, requests) => runCommands(deps, connection, requests),
    onClosed: (connection, close, isOurs) => {
      quotas.leave(connection.id);
      metrics.closed(close.code);
      log.debug({ connection: connection.id, code: close.code, isOurs }, "connection closed");
    },
    onRefused: ({ code }) => {
      metrics.refusedCommand(code);
    },
  };
}
