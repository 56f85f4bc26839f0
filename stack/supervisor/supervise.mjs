const firstDelayMs = 500;
const longestDelayMs = 10_000;
/** After a process has run for this long, its next end counts as the first. */
const wellAfterMs = 30_000;

/**
 * How long to wait before a dead process is started again.
 * @param {{previousDelayMs: number | undefined, livedMs: number}} given
 */
export function chooseRestartDelayMs({ previousDelayMs, livedMs }) {
  if (previousDelayMs === undefined || livedMs >= wellAfterMs) return firstDelayMs;
  return Math.min(previousDelayMs * 2, longestDelayMs);
}

/**
 * Restarts a service after every unexpected end, until `stop`.
 * @param {import("./service.mjs").Service} service that was started
 * @param {{log: (line: string) => void, onEnd: () => void}} given `onEnd` is called at each end, expected or not
 */
export function supervise(service, { log, onEnd }) {
  /** @type {number | undefined} */
  let delayMs;
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  let stopped = false;
  let launchedAtMs = Date.now();

  const launch = async () => {
    launchedAtMs = Date.now();
    try {
      await service.launch();
      log(`${service.name}: started again as ${service.pid}`);
    } catch (error) {
      scheduleLaunch(/** @type {Error} */ (error).message);
    }
  };
  const scheduleLaunch = (/** @type {string} */ reason) => {
    if (stopped) return;
    delayMs = chooseRestartDelayMs({ previousDelayMs: delayMs, livedMs: Date.now() - launchedAtMs });
    log(
      `${service.name}: ended (${reason}); starting it again in ${delayMs / 1_000} s; its log is ${service.logPath}`,
    );
    timer = setTimeout(() => void launch(), delayMs);
  };
  service.onEnd(({ expected, reason }) => {
    onEnd();
    if (!expected) scheduleLaunch(reason);
  });
  if (service.pid === undefined) scheduleLaunch("before it was supervised");

  return {
    /** Ends the supervision and the service. */
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await service.stop();
    },
  };
}
