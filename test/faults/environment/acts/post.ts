/** A message that a person posted; times by `performance.now()`. */
export type Post = {
  clientId: string;
  room: string;
  person: string;
  askedAtMs: number;
  /** Null until it was accepted. */
  id: string | null;
  /** The number in the answer that accepted it. */
  number: number | null;
  acceptedAtMs: number | null;
  /** Of the first request, accepted or not. */
  firstAnswerMs: number | null;
  firstStatus: number | null;
};
