import { MatrixFailure } from "../../matrix/http/failure.ts";
import type { SendStep } from "../retry.ts";

/** A Matrix call that did not succeed, and what the message needed it for. */
export class SendFailed extends Error {
  override readonly name = "SendFailed";
  readonly step: SendStep;
  readonly failure: MatrixFailure;

  constructor(step: SendStep, failure: MatrixFailure) {
    super(failure.message, { cause: failure });
    this.step = step;
    this.failure = failure;
  }
}

/** @throws SendFailed instead of a MatrixFailure. */
export async function during<T>(step: SendStep, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof MatrixFailure ? new SendFailed(step, error) : error;
  }
}
