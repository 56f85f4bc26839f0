import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * `node deploy/synapse/render.mjs FOLDER`: writes Synapse's configuration to a folder from the templates beside this
 * file and the environment. Secrets that only Synapse needs are made once and kept there. Safe to repeat.
 */
const folder = process.argv[2] ?? "/data";
const templates = ["homeserver.yaml", "appservice.yaml", "log.yaml"];
const secretsPath = join(folder, "secrets.json");
const signingKeyPath = join(folder, "signing.key");

function createSecret() {
  return randomBytes(32).toString("hex");
}

/** @param {string} name @param {string} text */
function writePrivate(name, text) {
  writeFileSync(name, text, { mode: 0o600 });
}

mkdirSync(folder, { recursive: true });
if (!existsSync(secretsPath)) {
  const secrets = { HS_TOKEN: createSecret(), MACAROON_SECRET: createSecret(), FORM_SECRET: createSecret() };
  writePrivate(secretsPath, JSON.stringify(secrets));
}
// Synapse's own format: algorithm, version, seed in base64 without padding.
if (!existsSync(signingKeyPath)) {
  writePrivate(signingKeyPath, `ed25519 a_1 ${randomBytes(32).toString("base64").replaceAll("=", "")}\n`);
}

/** @type {Record<string, string | undefined>} */
const values = {
  ...process.env,
  ...JSON.parse(readFileSync(secretsPath, "utf8")),
  // For a regular expression inside a quoted text of YAML.
  SYNAPSE_SERVER_NAME_REGEX: (process.env.SYNAPSE_SERVER_NAME || "unset").replaceAll(".", "\\\\."),
};
/** @type {string[]} */
const faults = [];

/** @param {string} name */
function valueOf(name) {
  const value = values[name] ?? "";
  if (value === "") faults.push(`${name} is not set`);
  else if (!/^[\w.:/\\-]+$/.test(value)) faults.push(`${name} may have letters, digits and . : / - _ only`);
  return value;
}

const files = templates.map((name) => {
  const template = readFileSync(join(import.meta.dirname, name), "utf8");
  const lines = template
    .split("\n")
    .map((line) =>
      line.trimStart().startsWith("#")
        ? line
        : line.replace(/\$\{(\w+)\}/g, (_, variable) => valueOf(variable)),
    );
  return { name, text: lines.join("\n") };
});
if (faults.length > 0) {
  process.stderr.write(
    `Synapse's configuration cannot be written:\n  ${[...new Set(faults)].join("\n  ")}\n`,
  );
  process.exitCode = 1;
} else {
  for (const { name, text } of files) writePrivate(join(folder, name), text);
  process.stdout.write(`wrote ${templates.join(", ")} to ${folder}\n`);
}
