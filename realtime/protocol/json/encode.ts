import type { ConnectResult, Frame, RefreshResult, Reply, SubscribeResult } from "../frames.ts";

/** A frame as JSON text. The `data` of publications is put in as it is. */
export function encodeText(frame: Frame): string {
  switch (frame.kind) {
    case "publication":
      return `{"push":{"channel":${JSON.stringify(frame.channel)},"pub":${encodePublication(frame.data, frame.offset)}}}`;
    case "ping":
      return "{}";
    case "reply":
      return `{"id":${frame.id},"${frame.method}":${encodeResult(frame)}}`;
    case "error":
      return JSON.stringify({ id: frame.id, error: frame.error });
    case "subscribe":
      return `{"push":{"channel":${JSON.stringify(frame.channel)},"subscribe":${encodeSubscribe(frame.result)}}}`;
    case "unsubscribe": {
      const { channel, why } = frame;
      return JSON.stringify({ push: { channel, unsubscribe: { code: why.code, reason: why.reason } } });
    }
  }
}

function encodeResult(reply: Reply): string {
  switch (reply.method) {
    case "connect":
      return encodeConnect(reply.result);
    case "subscribe":
      return encodeSubscribe(reply.result);
    case "refresh":
      return encodeRefresh(reply.result);
    case "unsubscribe":
    case "ping":
      return "{}";
  }
}

function encodePublication(data: string, offset: number | null): string {
  return offset === null ? `{"data":${data}}` : `{"data":${data},"offset":${offset}}`;
}

function encodeSubscribe({ epoch, offset, recovery }: SubscribeResult): string {
  const start = `{"recoverable":true,"positioned":true,"epoch":${JSON.stringify(epoch)},"offset":${offset}`;
  if (!recovery) return `${start}}`;
  const publications = recovery.publications.map((pub) => encodePublication(pub.data, pub.offset)).join(",");
  return `${start},"recovered":${recovery.isRecovered},"was_recovering":true,"publications":[${publications}]}`;
}

function encodeConnect({ client, version, ttlS, pingS, session, subs }: ConnectResult): string {
  const head = JSON.stringify({
    client,
    version,
    expires: true,
    ttl: ttlS,
    ping: pingS,
    pong: true,
    session,
  });
  const list = subs.map(({ channel, result }) => `${JSON.stringify(channel)}:${encodeSubscribe(result)}`);
  return `${head.slice(0, -1)},"subs":{${list.join(",")}}}`;
}

function encodeRefresh({ client, ttlS }: RefreshResult): string {
  return JSON.stringify({ client, expires: true, ttl: ttlS });
}
