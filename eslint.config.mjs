import js from "@eslint/js";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

/** The files that may read the environment and end the process: the programs, and the start and shutdown of a tier. */
const programs = [
  "{api,migrations,realtime,workers}/main.ts",
  "workers/admin.ts",
  "shared/platform/{process-config,shutdown}.ts",
  "{bench,deploy,stack,test}/**",
  "*.mjs",
];

export default defineConfig(
  { ignores: ["dist/", ".stack/", "coverage/", "*.cjs"] },
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // The compiler checks every name, in .mjs files too.
      "no-undef": "off",
      eqeqeq: "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/prefer-optional-chain": "error",
      // An empty string often counts as absent: `||` covers both.
      "@typescript-eslint/prefer-nullish-coalescing": ["error", { ignorePrimitives: { string: true } }],
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { considerDefaultExhaustiveForUnions: true },
      ],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": [
        "error",
        { ignoreArrowShorthand: true, ignoreVoidOperator: true },
      ],
      // `return void publish()` leaves a function early without the result of `publish`.
      "@typescript-eslint/no-meaningless-void-operator": "off",
      "@typescript-eslint/no-unused-vars": [
        "error",
        { argsIgnorePattern: "^_", varsIgnorePattern: "^_$", ignoreRestSiblings: true },
      ],
    },
  },
  {
    files: ["**/*.ts"],
    ignores: ["{bench,migrations,test}/**"],
    rules: {
      "max-lines": ["error", 300],
      "max-lines-per-function": ["error", { max: 60, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    files: ["**/*.ts"],
    ignores: ["{bench,test}/**"],
    rules: { "no-console": "error" },
  },
  {
    ignores: programs,
    rules: {
      "no-restricted-properties": [
        "error",
        {
          object: "process",
          property: "env",
          message: "Only programs read the environment: pass the value in.",
        },
        { object: "process", property: "exit", message: "Only programs end the process: throw an error." },
      ],
      "no-restricted-imports": [
        "error",
        {
          paths: ["process", "node:process"].map((name) => ({
            name,
            message: "Use the global `process`: the rules above check it.",
          })),
        },
      ],
    },
  },
  {
    // Parsed JSON and the arguments of callbacks are `any` here, and JSDoc cannot give them a type without a library.
    files: ["**/*.mjs"],
    rules: {
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-return": "off",
      "@typescript-eslint/restrict-plus-operands": "off",
      // An async function without await turns every throw into a rejection.
      "@typescript-eslint/require-await": "off",
    },
  },
  {
    // A fake keeps the signature of the real one. A test that uses a value asserts that it exists.
    files: ["test/**"],
    rules: {
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/no-non-null-assertion": "off",
    },
  },
);
