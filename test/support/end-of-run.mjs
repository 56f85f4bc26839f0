/** What a test may still be closing when all are done. */
const limitMs = 5_000;

/**
 * Jest waits for ever for what a test left open: a run that found a failure would hang instead of saying so. What is
 * still open a little later is a fault of its own.
 */
export default function endOfRun() {
  setTimeout(() => {
    process.stderr.write(
      `Something that a test opened is still open ${limitMs} ms after the last one: ended.\n`,
    );
    process.exit(1);
  }, limitMs).unref();
}
