import { createHash } from "node:crypto";
import { BlockList, isIPv4, isIPv6 } from "node:net";

/** Reads the address of a client behind trusted proxies. */
export type ClientAddresses = {
  /** Whether a hop is a trusted proxy. */
  isTrusted: (hop: string | undefined) => boolean;
  /**
   * The client's address, canonical: the hop nearest to us that is no trusted proxy. A hop that gives no address, such as
   * `unknown` or `_hidden`, ends the way: the client then has the address of the proxy before it. `forwardedFor` has the
   * values of all `X-Forwarded-For` headers, in their order, joined by commas. `unknown` for a peer without an address.
   */
  read: (peer: string | undefined, forwardedFor: string | undefined) => string;
};

const NO_ADDRESS = "unknown";

/** Networks that have a name in TRUSTED_PROXIES. */
const NAMED_NETWORKS: Readonly<Record<string, readonly string[]>> = {
  loopback: ["127.0.0.0/8", "::1/128"],
  linklocal: ["169.254.0.0/16", "fe80::/10"],
  uniquelocal: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
};

/** `trustedProxies`: addresses, networks, or the names of networks. Without any, every client has its peer's address. */
export function createClientAddresses(trustedProxies: readonly string[]): ClientAddresses {
  const trusted = new BlockList();
  for (const proxy of trustedProxies.flatMap((name) => NAMED_NETWORKS[name] ?? [name])) {
    const [address = "", bits] = proxy.split("/");
    if (bits === undefined) {
      const canonical = normalizeAddress(address) ?? address;
      trusted.addAddress(canonical, familyOf(canonical));
    } else trusted.addSubnet(address, Number(bits), familyOf(address));
  }
  const isTrustedAddress = (address: string) => trusted.check(address, familyOf(address));
  return {
    isTrusted: (hop) => {
      const address = normalizeAddress(hop ?? "");
      return address !== null && isTrustedAddress(address);
    },
    read: (peer, forwardedFor) => {
      let address = normalizeAddress(peer ?? "");
      if (address === null) return NO_ADDRESS;
      for (const hop of (forwardedFor ?? "").split(",").toReversed()) {
        if (!isTrustedAddress(address)) break;
        const before = normalizeAddress(hop);
        if (before === null) break;
        address = before;
      }
      return address;
    },
  };
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIPv4(address) ? "ipv4" : "ipv6";
}

/**
 * The canonical form of an address as proxies write it: without quotes, brackets, port and zone, an IPv4 address in its
 * own notation also when it was written as an IPv6 one. Null when the text is no address.
 */
export function normalizeAddress(text: string): string | null {
  const unquoted = text.trim().replace(/^"(.*)"$/, "$1");
  const bracketed = /^\[([^\]]*)\](?::\w*)?$/.exec(unquoted)?.[1];
  // An IPv4 address, or an IPv6 address in full, with a port behind it.
  const withPort = /^((?:\d+\.){3}\d+|[0-9a-f]+(?::[0-9a-f]+){7}):\w*$/i.exec(unquoted)?.[1];
  const address = bracketed ?? withPort ?? unquoted;
  if (isIPv4(address)) return bracketed === undefined ? address : null;
  const [bare = ""] = address.split("%");
  if (!isIPv6(bare)) return null;
  const canonical = new URL(`http://[${bare}]`).hostname.slice(1, -1);
  return readMappedAddress(canonical) ?? canonical;
}

/** The IPv4 address that a canonical IPv6 address stands for. */
function readMappedAddress(canonical: string): string | null {
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical) ?? [];
  if (high === undefined || low === undefined) return null;
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [a >> 8, a & 255, b >> 8, b & 255].join(".");
}

/**
 * The network of a canonical address: the whole IPv4 address, or the first 64 bits of an IPv6 one, which is what a single
 * customer of a provider has.
 */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = "", tail] = address.split("::");
  const front = head.split(":").filter(Boolean);
  const back = (tail ?? "").split(":").filter(Boolean);
  const zeros = Array<string>(8 - front.length - back.length).fill("0");
  return `${[...front, ...zeros, ...back].slice(0, 4).join(":")}::/64`;
}

/** A hash that stands for a client's network in keys. */
export function nameNetwork(address: string): string {
  return createHash("sha256").update(networkOf(address)).digest("base64url").slice(0, 22);
}
