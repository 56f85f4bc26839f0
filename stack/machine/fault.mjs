/** A failure that is told to the person as it is: what happened, what to do, and the exit code (1 failed, 2 wrong use). */
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

/**
 * Runs a program's main function: a Fault becomes its text and exit code, anything else its stack and 1.
 * @param {() => Promise<number | void>} main answers the exit code
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
