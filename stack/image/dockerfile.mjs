import { Fault } from "../machine/fault.mjs";

/** @typedef {{instruction: string, words: string[], text: string}} Step */
/** @typedef {{from: string, name: string, steps: Step[]}} Stage */

/**
 * The stages of a Dockerfile with their steps. `${NAME}` in FROM becomes the value of `ARG NAME=value` above it.
 * @param {string} text
 * @returns {Stage[]}
 */
export function readStages(text) {
  /** @type {Record<string, string>} */
  const args = {};
  /** @type {Stage[]} */
  const stages = [];
  for (const step of readSteps(text)) {
    const stage = stages.at(-1);
    if (step.instruction === "FROM") {
      const from = (step.words[0] ?? "").replaceAll(/\$\{(\w+)\}/g, (_match, name) => args[name] ?? "");
      stages.push({ from, name: step.words[2] ?? "", steps: [] });
    } else if (stage !== undefined) stage.steps.push(step);
    else if (step.instruction === "ARG") {
      const [name = "", value = ""] = step.text.split("=");
      args[name] = value;
    } else throw new Fault(`the Dockerfile has ${step.instruction} before FROM`);
  }
  return stages;
}

/**
 * What a COPY step copies: from an earlier stage, or from the checkout where `from` is null.
 * @param {Step} step
 */
export function readCopy({ words }) {
  const from = words.find((word) => word.startsWith("--from="))?.slice("--from=".length) ?? null;
  const paths = words.filter((word) => !word.startsWith("--"));
  return { from, sources: paths.slice(0, -1), target: paths.at(-1) ?? "" };
}

/**
 * @param {string} text
 * @returns {Step[]}
 */
function readSteps(text) {
  const lines = text
    .split("\n")
    .filter((line) => !/^\s*#/.test(line))
    .join("\n")
    .replaceAll(/\\\n\s*/g, "")
    .split("\n");
  return lines.flatMap((line) => {
    const [, instruction, rest = ""] = /^\s*([A-Z]+)\s+(.*\S)\s*$/.exec(line) ?? [];
    return instruction === undefined ? [] : [{ instruction, text: rest, words: rest.split(/\s+/) }];
  });
}
