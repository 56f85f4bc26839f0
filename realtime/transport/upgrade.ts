import type { Answer, TransportOptions, UpgradeRefusal } from "./transport.ts";

export type UpgradeDecision =
  | { refusal: UpgradeRefusal; answer: Answer }
  | { refusal: null; origin: string | null; subprotocol: string | null };

const refuse = (refusal: UpgradeRefusal, status: number, body: string): UpgradeDecision => ({
  refusal,
  answer: { status, type: "text/plain", body },
});

/** Whether a client gets a socket. `origin` and `protocols` are the values of its headers; empty for an absent one. */
export function decideUpgrade(
  {
    isKnownOrigin,
    subprotocols,
    isFull,
  }: Pick<TransportOptions, "isKnownOrigin" | "subprotocols" | "isFull">,
  { origin, protocols }: { origin: string; protocols: string },
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
  return { refusal: null, origin: origin === "" ? null : origin, subprotocol };
}
