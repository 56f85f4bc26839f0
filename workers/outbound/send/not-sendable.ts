import type { DeadCode } from "../../../shared/db/messages/dead/dead-messages.ts";

/** An act that has lost its message: Matrix is not asked. */
export class NotSendable extends Error {
  override readonly name = "NotSendable";
  readonly code: DeadCode;

  constructor(code: DeadCode) {
    super(code);
    this.code = code;
  }
}
