const WORDS: Readonly<Record<string, string>> = {
  transient: "the homeserver did not answer, or failed",
  limited: "the homeserver asked to wait",
  auth: "the homeserver refused our credential",
  forbidden: "the homeserver refused the sender",
  conflict: "what was asked for exists already",
  missing: "the homeserver does not know what was named",
  account: "the homeserver lets this account do nothing",
  permanent: "the homeserver refused what was asked",
  unclear: "the answer says nothing about what was asked",
};

/** A failed try to send a message, for operators: `failure` and `detail` as `delivery_attempts` has them. */
export function describeFailedTry({ failure, detail }: { failure: string; detail: string }): string {
  return `${WORDS[failure] ?? failure}: ${detail}`;
}
