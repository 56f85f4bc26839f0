const WORDS: Readonly<Record<string, string>> = {
  transient: "the homeserver did not answer, or failed",
  limited: "the homeserver asked to wait",
  auth: "the homeserver refused our credential",
  forbidden: "the homeserver refused the sender",
  conflict: "the homeserver holds another event with this transaction id",
  missing: "the homeserver does not know the room",
  permanent: "the homeserver refused the message",
};

/** A failed try to send a message, for operators: `failure` and `detail` as `delivery_attempts` has them. */
export function describeFailedTry({ failure, detail }: { failure: string; detail: string }): string {
  return `${WORDS[failure] ?? failure}: ${detail}`;
}
