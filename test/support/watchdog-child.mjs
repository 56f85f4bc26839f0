// A program with a watchdog, which hangs on command: `node watchdog-child.mjs <dist> <limits as JSON>`.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [dist = "", limits = "{}"] = process.argv.slice(2);
/** @param {string} file */
const load = (file) => import(pathToFileURL(join(dist, file)).href);
const [{ startWatchdog }, { createLog }] = await Promise.all([
  load("shared/platform/stall/watchdog.js"),
  load("shared/platform/log.js"),
]);

function countForEver() {
  for (let count = 0; ; count++) Math.sqrt(count);
}

const watchdog = startWatchdog(createLog({ level: "info", tier: "test" }), JSON.parse(limits));
process.on("message", (command) => {
  if (command === "hang") countForEver();
  if (command === "promise") void (async () => countPromises())();
  if (command === "stop") void watchdog.stop().then(() => process.send?.("stopped"));
  if (command === "answer") process.send?.("alive");
});
process.send?.("ready");

/** Blocks every timer, although it awaits all the time. */
async function countPromises() {
  for (;;) await Promise.resolve();
}
