import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";

const root = join(import.meta.dirname, "..", "..");
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

/** What a page names in backticks that looks like a path: a folder, or a file with an ending that we use. */
function pathsIn(page: string): string[] {
  const words = [...readFileSync(join(root, page), "utf8").matchAll(/`([^`\s]+)`/g)].flatMap(
    (match) => match[1] ?? [],
  );
  const isPath = (word: string) => /^[\w.][\w./-]*(\/|\.(ts|mjs|cjs|md|yml|yaml|sh))$/.test(word);
  return [...new Set(words.filter(isPath))].filter((word) => !/^(dist|\.stack|node_modules)\//.test(word));
}

/** Folders from which a page may name files without saying so each time. */
const bases: Record<string, string[]> = {
  "docs/features.md": ["test"],
  "CONTRIBUTING.md": [
    "workers",
    "api",
    "shared",
    "realtime",
    "stack",
    "test",
    "workers/matrix",
    "shared/queues",
  ],
};

describe.each(pages)("%s", (page) => {
  test("names only files and folders that exist", () => {
    const folders = ["", "deploy/synapse", ...(bases[page] ?? [])];
    const missing = pathsIn(page).filter(
      (path) => !folders.some((folder) => existsSync(join(root, folder, path))),
    );
    expect(missing).toEqual([]);
  });
});

test("every test file stands in docs/features.md or tests a part of what does", () => {
  const named = pathsIn("docs/features.md").map((path) => path.slice(0, path.lastIndexOf("/")));
  const folders = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => name.slice(0, name.lastIndexOf("/")));
  expect(folders.filter((folder) => !named.includes(folder))).toEqual([]);
});
