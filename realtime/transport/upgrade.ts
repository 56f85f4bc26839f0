import type { Answer, TransportOptions, UpgradedClient, UpgradeRefusal } from "./transport.ts";

export type UpgradeDecision =
  { refusal: UpgradeRefusal; answer: Answer } | ({ refusal: null } & UpgradedClient);

const refuse = (refusal: UpgradeRefusal, status: number, body: string): UpgradeDecision => ({
  refusal,
  answer: { status, type: "text/plain", body },
});

/** Whether a client gets a socket. The values of its headers are empty for an absent one. */
export function decideUpgrade(
  {
    isKnownOrigin,
    subprotocols,
    isFull,
    readNetwork,
    isNetworkFull,
  }: Pick<TransportOptions, "isKnownOrigin" | "subprotocols" | "isFull" | "readNetwork" | "isNetworkFull">,
  {
    origin,
    protocols,
    peer,
    forwardedFor,
  }: { origin: string; protocols: string; peer: string; forwardedFor: () => string },
): UpgradeDecision {
  const offered = protocols
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);
  const subprotocol = subprotocols.find((name) => offered.includes(name)) ?? null;
  if (origin !== "" && !isKnownOrigin(origin)) return refuse("origin", 403, "this origin may not connect");
  if (offered.length > 0 && subprotocol === null)
    return refuse("protocol", 400, `the sub-protocols are: ${subprotocols.join(", ")}`);
  if (isFull()) return refuse("full", 503, "no room for another connection");
  const network = readNetwork(peer, forwardedFor);
  if (isNetworkFull(network)) return refuse("address", 503, "too many connections of this address");
  return { refusal: null, origin: origin === "" ? null : origin, subprotocol, network };
}
