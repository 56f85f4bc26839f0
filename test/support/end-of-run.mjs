/** Time for handles that a test is still closing at the end. */
const limitMs = 5_000;

/**
 * Jest waits without a limit for handles that a test left open, so a run with a failure would hang. A handle that is
 * still open a little later is a failure of its own.
 */
export default function endOfRun() {
  setTimeout(() => {
    process.stderr.write(
      `Something that a test opened is still open ${limitMs} ms after the last one: ended.\n`,
    );
    process.exit(1);
  }, limitMs).unref();
}
