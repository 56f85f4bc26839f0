/** Who may import whom. `npm run check` also asserts that modules were seen. */

/** Packages, each with the only files that may import it: the rest of the code is values and functions. */
const doors = {
  bullmq: "shared/queues/open|workers/runtime/run-jobs|api/admin/.+",
  "@bull-board": "api/admin/.+",
  ioredis: "shared/platform/redis",
  "uWebSockets\\.js": "realtime/transport/uws",
  ws: "realtime/transport/ws",
  "matrix-js-sdk": "workers/matrix/http/client|workers/matrix/names",
  loglevel: "workers/matrix/http/client",
  knex: "shared/db/connection/(open|pipelined-transaction)|migrations/.+",
  pg: "shared/db/connection/(open|pipelined-transaction)",
  objection: "shared/db/.+",
  pino: "shared/platform/log",
  "prom-client": "shared/platform/metrics",
  cockatiel: "workers/matrix/homeserver/breaker",
  jose: "shared/auth/tokens",
  uuid: "shared/platform/ids",
  express: "api/.+",
  cors: "api/http/cors",
  cookie: "api/admin/session",
  "zod-openapi": "api/http/openapi",
  "lru-cache":
    "api/auth/(?:act-as|authenticate)|api/rate-limit/.+|shared/auth/tokens|workers/inbound/observers/observers|workers/matrix/homeserver/credential-store",
  "rate-limiter-flexible": "api/rate-limit/shared-counters",
  commander: "workers/admin/.+",
  "markdown-it": "shared/markup/render",
  htmlparser2: "shared/markup/parse",
};

/** Folders, each with the only files that other folders may import. The rest of the folder is private. */
const folderDoors = {
  "api/admin": "pages",
  "api/routes": "index",
  "shared/queues": "index|open",
  "workers/admin": "program",
  "workers/jobs": "index",
  "workers/matrix/homeserver": "homeserver|open-homeserver|pool|breaker|room-versions",
  "workers/matrix/http": "client|failure|bounded-fetch",
};

/** Files, each with the only files that may import it. */
const users = {
  "api/admin/pages": "api/server",
  "migrations/\\d{4}-[^/]+": "migrations/index",
  "realtime/cluster/[^/]+": "realtime/(main|cluster/.+)",
  // The rest of the tier knows the interface of a transport.
  "realtime/transport/(uws|ws)": "realtime/transport/.+",
  // A round trip of its own for begin and commit is right almost everywhere.
  "shared/db/connection/pipelined-transaction": "shared/(db|timeline)/.+|workers/(inbound|jobs)/.+",
  // `runProcess` starts the one of each process.
  "shared/platform/stall/watchdog": "shared/platform/shutdown|shared/platform/stall/.+",
  "workers/admin/program": "workers/admin",
};

const tiers = ["api", "workers", "realtime", "migrations"];

/** Tests, measurements and the stack pass every door: they look at the program from outside. */
const outside = "^(bench|test|stack)/";

module.exports = {
  forbidden: [
    ...tiers.map((tier) => ({
      name: `${tier}-imports-no-other-tier`,
      comment: "What two tiers share is in shared/.",
      severity: "error",
      from: { path: `^${tier}/` },
      to: { path: `^(?!(${tier}|shared)/)(api|workers|realtime|migrations|bench|test|stack)/` },
    })),
    {
      name: "shared-imports-no-tier",
      severity: "error",
      from: { path: "^shared/" },
      to: { path: "^(api|workers|realtime|migrations|bench|test|stack)/" },
    },
    {
      name: "stack-imports-itself-only",
      comment: "It runs before packages are installed: it imports Node's built-ins and its own files.",
      severity: "error",
      from: { path: "^stack/", pathNot: "^stack/servers/postgres/postgres-probe" },
      to: { pathNot: "^stack/", dependencyTypesNot: ["core"] },
    },
    {
      name: "contract-imports-zod-only",
      comment:
        "The browser's package builds on it: it imports no other folder, no other package, nothing of Node.",
      severity: "error",
      from: { path: "^shared/contract/" },
      to: { pathNot: "^(shared/contract|node_modules/zod)/" },
    },
    ...Object.entries(doors).map(([name, files]) => ({
      name: `one-door-for-${name.replaceAll("\\", "")}`,
      severity: "error",
      from: { pathNot: `^(${files})\\.ts$|${outside}` },
      to: { path: `^node_modules/${name}/` },
    })),
    ...Object.entries(folderDoors).map(([folder, files]) => ({
      name: `door-of-${folder}`,
      comment: "The other files of this folder are private to it.",
      severity: "error",
      from: { pathNot: `^${folder}/|${outside}` },
      to: { path: `^${folder}/`, pathNot: `^${folder}/(${files})\\.ts$` },
    })),
    ...Object.entries(users).map(([file, importers]) => ({
      name: `users-of-${file}`,
      severity: "error",
      from: { pathNot: `^(${importers})\\.ts$|${outside}` },
      to: { path: `^${file}\\.ts$` },
    })),
    {
      name: "programs-are-imported-by-no-file",
      comment: "Importing one would start it.",
      severity: "error",
      from: {},
      to: { path: "^((api|migrations|realtime|workers)/main|workers/admin)\\.ts$" },
    },
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    { name: "resolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
    {
      name: "production-needs-no-dev-dependency",
      severity: "error",
      from: { path: "^(api|workers|realtime|shared|migrations)/" },
      to: { dependencyTypes: ["npm-dev"], dependencyTypesNot: ["type-only"] },
    },
    {
      name: "declared",
      comment: "A package that is installed only for another package can disappear.",
      severity: "error",
      from: {},
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown"] },
    },
  ],
  options: {
    doNotFollow: { path: "^node_modules/" },
    exclude: { path: "^dist/" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      conditionNames: ["import", "node", "default", "types"],
      exportsFields: ["exports"],
    },
  },
};
