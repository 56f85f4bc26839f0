import js from "@eslint/js";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

/** Who may read the environment and end the process: the programs, and the one place that ends them in order. */
const programs = [
  "{api,migrations,realtime,workers}/main.ts",
  "workers/admin.ts",
  "shared/platform/shutdown.ts",
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
      // The compiler knows every name, in .mjs files too.
      "no-undef": "off",
      eqeqeq: "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/prefer-optional-chain": "error",
      // An empty text often means an absent one: `||` says so.
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
      // `return void tell()` ends a function early without answering what `tell` answers.
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
          message: "Only programs read the environment: hand the value in.",
        },
        { object: "process", property: "exit", message: "Only programs end the process: throw." },
      ],
      "no-restricted-imports": [
        "error",
        {
          paths: ["process", "node:process"].map((name) => ({
            name,
            message: "Use the global, which is watched.",
          })),
        },
      ],
    },
  },
  {
    // What Node parses from JSON or hands to a callback is `any` here, and JSDoc cannot name it without a library.
    files: ["**/*.mjs"],
    rules: {
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-return": "off",
      "@typescript-eslint/restrict-plus-operands": "off",
      // An async function that awaits nothing makes every throw a rejection.
      "@typescript-eslint/require-await": "off",
    },
  },
  {
    // A stand-in keeps the signature of what it stands in for; a test says what must be there by using it.
    files: ["test/**"],
    rules: {
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/no-non-null-assertion": "off",
    },
  },
);
