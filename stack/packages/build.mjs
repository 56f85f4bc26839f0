import { join } from "node:path";
import { Fault } from "../machine/fault.mjs";
import { withLock } from "../machine/lock.mjs";
import { withProgress } from "../machine/log.mjs";
import { checkoutDir } from "../machine/paths.mjs";
import { runToEnd } from "../machine/processes.mjs";

/**
 * Compiles to dist/ without checking types, which takes twice as long: `npm run check` and
 * `npm run build` check them. It is quick when little has changed.
 * @param {{stackDir: string, log: (line: string) => void}} given
 */
export async function ensureBuild({ stackDir, log }) {
  await withLock(join(stackDir, "build.lock"), async () => {
    const tsc = join(checkoutDir, "node_modules", "typescript", "bin", "tsc");
    const work = runToEnd([process.execPath, tsc, "-p", "tsconfig.build.json", "--noCheck"], {
      cwd: checkoutDir,
    });
    const { code, output } = await withProgress(log, "build: compiling", work);
    if (code !== 0)
      throw new Fault(`the code does not compile:\n${output.trim().split("\n").slice(0, 20).join("\n")}`, {
        advice: "correct it; npm run check shows all",
      });
    log("build: done");
  });
}
