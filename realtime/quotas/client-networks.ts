import { nameNetwork, type ClientAddresses } from "../../shared/auth/client-address.ts";

/** A name for the network of a client, from its peer and from the values of its `X-Forwarded-For` headers. */
export type ReadNetwork = (peer: string, readForwardedFor: () => string) => string;

const KNOWN_AT_MOST = 10_000;

/** Keeps what was read of a peer: clients come back from the same one. */
export function createNetworkReader(addresses: ClientAddresses): ReadNetwork {
  const known = new Map<string, { isTrusted: boolean; name: string }>();
  const read = (peer: string) => {
    const found = known.get(peer);
    if (found) return found;
    const value = {
      isTrusted: addresses.isTrusted(peer),
      name: nameNetwork(addresses.read(peer, undefined)),
    };
    known.set(peer, value);
    const [oldest] = known.keys();
    if (oldest !== undefined && known.size > KNOWN_AT_MOST) known.delete(oldest);
    return value;
  };
  return (peer, readForwardedFor) => {
    const { isTrusted, name } = read(peer);
    return isTrusted ? nameNetwork(addresses.read(peer, readForwardedFor())) : name;
  };
}
