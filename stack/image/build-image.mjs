import { cpSync, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { basename, join, posix } from "node:path";
import { Fault } from "../machine/fault.mjs";
import { withProgress } from "../machine/log.mjs";
import { checkoutDir } from "../machine/paths.mjs";
import { runToEnd } from "../machine/processes.mjs";
import { enterRoot } from "../packages/debian-root.mjs";
import { readCopy, readStages } from "./dockerfile.mjs";
import { ensureNodeBase } from "./node-base.mjs";

/** @typedef {import("./dockerfile.mjs").Stage} Stage */
/** @typedef {{root: string, cwd: string, user: string, env: Record<string, string>, command: string[]}} Image */
/** @typedef {(line: string) => void} Log */

/** Where the certificates of this machine's own proxy lie in a root. */
const certificates = "/etc/ssl/image-check.pem";

/**
 * Runs every step of the checkout's Dockerfile, each stage in a Debian root of its own below `dir`.
 * @param {{dir: string, cacheDir: string, log: Log}} given
 * @returns {Promise<Image>} the last stage
 */
export async function buildImage({ dir, cacheDir, log }) {
  /** @type {Record<string, string>} */
  const roots = {};
  /** @type {Image | undefined} */
  let image;
  for (const stage of readStages(readFileSync(join(checkoutDir, "Dockerfile"), "utf8"))) {
    const label = stage.name || "image";
    log(`${label}: FROM ${stage.from}`);
    const base = await ensureNodeBase({ image: stage.from, cacheDir, log });
    const root = join(dir, label);
    await copy(base, root);
    cpSync("/etc/resolv.conf", join(root, "etc/resolv.conf"));
    image = await runSteps({ stage, root, roots, log: (line) => log(`${label}: ${line}`) });
    roots[stage.name] = root;
  }
  if (image === undefined) throw new Fault("the Dockerfile has no stage");
  return image;
}

/** @param {{stage: Stage, root: string, roots: Record<string, string>, log: Log}} given */
async function runSteps({ stage, root, roots, log }) {
  /** @type {Image} */
  const image = { root, cwd: "/", user: "root", env: {}, command: [] };
  for (const step of stage.steps) {
    const { instruction, text } = step;
    log(`${instruction} ${text}`);
    if (instruction === "WORKDIR") {
      image.cwd = text;
      mkdirSync(join(root, text), { recursive: true });
    } else if (instruction === "ENV") {
      const [name = "", value = ""] = text.split("=");
      image.env[name] = value;
    } else if (instruction === "USER") image.user = text;
    else if (instruction === "CMD") image.command = JSON.parse(text);
    else if (instruction === "COPY") await runCopy({ ...readCopy(step), image, roots });
    else if (instruction === "RUN") await runShell({ image, script: text, log });
    else if (instruction !== "EXPOSE")
      throw new Fault(`this check does not know the instruction ${instruction}`);
  }
  return image;
}

/** @param {{from: string | null, sources: string[], target: string, image: Image, roots: Record<string, string>}} given */
async function runCopy({ from, sources, target, image, roots }) {
  const context = from === null ? checkoutDir : roots[from];
  if (context === undefined) throw new Fault(`COPY --from=${from} names no earlier stage`);
  const to = join(image.root, posix.resolve(image.cwd, target));
  for (const source of sources) {
    // In the checkout a path is below its folder; in a stage it is below the root.
    const path = join(context, from === null ? source : posix.resolve(image.cwd, source));
    if (!existsSync(path)) throw new Fault(`COPY finds no ${path}`);
    if (statSync(path).isDirectory()) await copy(`${path}/.`, to);
    else await copy(path, /\/$|^\.$/.test(target) ? join(to, basename(source)) : to);
  }
}

/** @param {string} from @param {string} to */
async function copy(from, to) {
  mkdirSync(posix.dirname(to), { recursive: true });
  if (from.endsWith("/.")) mkdirSync(to, { recursive: true });
  const { code, output } = await runToEnd(["cp", "-a", from, to]);
  if (code !== 0) throw new Fault(`cp failed: ${output.trim()}`, { advice: "check that the disk has space" });
}

/** @param {{image: Image, script: string, log: Log}} given */
async function runShell({ image, script, log }) {
  let last = "";
  const extra = process.env.NODE_EXTRA_CA_CERTS;
  if (extra) cpSync(extra, join(image.root, certificates), { dereference: true });
  const { root, cwd, user } = image;
  const work = runToEnd(enterRoot({ root, cwd, user, command: ["sh", "-c", script] }), {
    env: {
      ...createImageEnv(image),
      HOME: "/root",
      ...Object.fromEntries(Object.entries(process.env).filter(([name]) => /_proxy$/i.test(name))),
      ...(extra ? { NODE_EXTRA_CA_CERTS: certificates } : {}),
    },
    onLine: (line) => (last = line.slice(0, 70)),
  });
  const { code, output } = await withProgress(log, "RUN", work, { detail: () => last });
  if (code !== 0) throw new Fault(`RUN ${script} failed (${code ?? "ended by a signal"}):\n${output.trim()}`);
}

/**
 * The environment of a process of the image: nothing of the caller's.
 * @param {Image} image
 * @returns {Record<string, string>}
 */
export function createImageEnv(image) {
  return { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ...image.env };
}
