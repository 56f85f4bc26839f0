/** A failure that the person reads: what happened, what to do. The exit code is 1 for a failure, 2 for wrong use. */
export class Fault extends Error {
  /**
   * @param {string} message
   * @param {{advice?: string, exitCode?: 1 | 2, cause?: unknown}} [options]
   */
  constructor(message, { advice, exitCode = 1, cause } = {}) {
    super(message, { cause });
    this.name = "Fault";
    this.advice = advice;
    this.exitCode = exitCode;
  }
}

/** A source that this machine cannot use, and why. The caller tries the next source. */
export class Unavailable extends Error {}

/**
 * Runs a program's main function. A Fault becomes its text and its exit code; any other error becomes its stack and 1.
 * @param {() => Promise<number | void>} main returns the exit code
 */
export async function runMain(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    process.exitCode = error instanceof Fault ? error.exitCode : 1;
    process.stderr.write(`${describeFailure(error)}\n`);
  }
}

/** @param {unknown} error */
export function describeFailure(error) {
  if (!(error instanceof Fault))
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  return [`failed: ${error.message}`, ...(error.advice ? [`what to do: ${error.advice}`] : [])].join("\n");
}
