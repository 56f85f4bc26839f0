/** Native ESM with swc: the import specifiers of the build, without a type check (`npm run check` has it). */
export default {
  testEnvironment: "node",
  roots: ["<rootDir>/test"],
  testMatch: ["**/*.test.ts"],
  extensionsToTreatAsEsm: [".ts"],
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      {
        jsc: {
          target: "es2022",
          parser: { syntax: "typescript" },
          transform: { useDefineForClassFields: false },
        },
        module: { type: "es6" },
        sourceMaps: "inline",
      },
    ],
  },
  testTimeout: 60_000,
  maxWorkers: 2,
  globalTeardown: "<rootDir>/test/support/end-of-run.mjs",
  setupFilesAfterEnv: ["<rootDir>/test/support/no-leaks.ts"],
};
