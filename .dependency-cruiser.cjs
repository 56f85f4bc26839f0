/** Who may import whom. `npm run check` also asserts that modules were seen. */

/** Packages that only named files may import, so that the rest of the code is values and functions. */
const doors = {
  bullmq: "shared/queues/open|workers/runtime/run-jobs|api/admin/.+",
  "@bull-board": "api/admin/.+",
  ioredis: "shared/platform/redis",
  "uWebSockets\\.js": "realtime/transport/uws",
  ws: "realtime/transport/ws",
  "matrix-js-sdk": "workers/matrix/http/client",
  loglevel: "workers/matrix/http/client",
  knex: "shared/db/connection/open|migrations/.+",
  pg: "shared/db/connection/open",
  objection: "shared/db/.+",
  pino: "shared/platform/log",
  "prom-client": "shared/platform/metrics",
  cockatiel: "workers/matrix/homeserver/breaker",
  jose: "shared/auth/tokens",
  uuid: "shared/platform/ids",
  express: "api/.+",
  "rate-limiter-flexible": "api/rate-limit/shared-counters",
  commander: "workers/admin/.+",
};

const tiers = ["api", "workers", "realtime", "migrations"];

/** Tests, measurements and the stack open doors of their own, to look from outside. */
const outside = "^(bench|test|stack)/";

module.exports = {
  forbidden: [
    ...tiers.map((tier) => ({
      name: `${tier}-imports-no-other-tier`,
      comment: "What crosses between tiers is in shared/.",
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
      comment: "It runs before anything is installed: Node's built-ins and its own files.",
      severity: "error",
      from: { path: "^stack/", pathNot: "^stack/servers/postgres/postgres-probe" },
      to: { pathNot: "^stack/", dependencyTypesNot: ["core"] },
    },
    {
      name: "contract-imports-zod-only",
      comment: "The browser's package builds on it: no other folder, no package, nothing of Node.",
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
      comment: "A package that is only there because another one needs it may vanish.",
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
