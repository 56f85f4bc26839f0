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

function readPage(page: string): string {
  return readFileSync(join(root, page), "utf8");
}

/** The words in backticks that look like a path: a folder, or a file with an extension that we use. */
function pathsIn(text: string): string[] {
  const words = [...text.matchAll(/`([^`\s]+)`/g)].flatMap((match) => match[1] ?? []);
  const isPath = (word: string) => /^[\w.][\w./-]*(\/|\.(ts|mjs|cjs|md|yml|yaml|sh))$/.test(word);
  return [...new Set(words.filter(isPath))].filter((word) => !/^(dist|\.stack|node_modules)\//.test(word));
}

/** The text of a page from a second-level heading to the next one. */
function sectionOf(page: string, heading: string): string {
  const [, after = ""] = readPage(page).split(`\n## ${heading}\n`);
  return after.split("\n## ")[0] ?? "";
}

/** The cells of each row of a section's first table, without its head. */
function rowsOf(section: string): string[][] {
  const lines = section.split("\n").filter((line) => line.startsWith("|"));
  return lines.slice(2).map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** Folders from which a page may name files without writing the folder each time. */
const bases: Record<string, string[]> = {
  "docs/features.md": ["test"],
  "CONTRIBUTING.md": ["workers/matrix", "shared/db", "shared/platform", "shared/queues", "stack", "test"],
};

describe.each(pages)("%s", (page) => {
  test("names only files and folders that exist", () => {
    const folders = ["", "deploy/synapse", ...(bases[page] ?? [])];
    const missing = pathsIn(readPage(page)).filter(
      (path) => !folders.some((folder) => existsSync(join(root, folder, path))),
    );
    expect(missing).toEqual([]);
  });

  test("links only to pages that exist", () => {
    const links = [...readPage(page).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].flatMap(
      (match) => match[1] ?? [],
    );
    expect(links.filter((link) => !existsSync(join(root, page, "..", link)))).toEqual([]);
  });
});

describe("the section 'Where would you look?' of CONTRIBUTING.md", () => {
  const questions = [
    "Where is a kind of content defined?",
    "Who may delete a message?",
    "What does a 429 of the homeserver do?",
    "Where is a frame encoded?",
    "Which tokens does a user hold?",
    "What happens after a commit?",
    "Where is a lease taken?",
    "What ends a silent socket?",
    "Where is a queue's concurrency set?",
    "Which statement gives a message its number?",
    "Which statement marks a message dead?",
    "Where is a variable of the environment declared?",
    "What does `npm run up` start?",
    "How do I add a webhook consumer?",
  ];
  const rows = rowsOf(sectionOf("CONTRIBUTING.md", "Where would you look?"));

  test("has these fourteen questions", () => {
    expect(rows.map(([question]) => question)).toEqual(questions);
  });

  test.each(rows)("answers with paths from the root that exist: %s", (_question, answer = "") => {
    const paths = pathsIn(answer);
    expect(paths).not.toEqual([]);
    expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });
});

test("the section 'Where things are' of CONTRIBUTING.md has every folder of the repository that holds code", () => {
  const named = pathsIn(sectionOf("CONTRIBUTING.md", "Where things are"));
  const isNamed = (folder: string) => named.some((path) => path.startsWith(`${folder}/`));
  const foldersIn = (folder: string) =>
    readdirSync(join(root, folder), { withFileTypes: true })
      .filter((item) => item.isDirectory())
      .map(({ name }) => (folder === "" ? name : `${folder}/${name}`));
  const tiers = ["api", "workers", "realtime", "shared"];
  const ignored = [".git", ".stack", "dist", "node_modules"];
  const folders = [...foldersIn(""), ...tiers.flatMap((tier) => foldersIn(tier))];
  expect(folders.filter((folder) => !ignored.includes(folder) && !isNamed(folder))).toEqual([]);
});

test("docs/features.md names at least one test of every folder of tests", () => {
  const named = pathsIn(readPage("docs/features.md")).map((path) => path.slice(0, path.lastIndexOf("/")));
  const folders = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => name.slice(0, name.lastIndexOf("/")));
  expect(folders.filter((folder) => !named.includes(folder))).toEqual([]);
});

describe("the log lines that the pages name", () => {
  const sources = ["api", "workers", "realtime", "shared"]
    .flatMap((tier) =>
      readdirSync(join(root, tier), { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".ts"))
        .map((name) => readFileSync(join(root, tier, name), "utf8")),
    )
    .join("\n");
  const messagesIn = (page: string, heading: string) =>
    rowsOf(sectionOf(page, heading))
      .flatMap(([first = ""]) => [...first.matchAll(/`([^`]+)`/g)].flatMap((match) => match[1] ?? []))
      .map((message) => message.replace(/ …$/, ""));

  test.each(messagesIn("docs/metrics.md", "One message, through the logs"))(
    "a process writes the line that docs/metrics.md names: %s",
    (message) => {
      expect(sources).toContain(`"${message}"`);
    },
  );

  test("a process writes each fatal line that docs/operations.md names", () => {
    const fatal = readPage("docs/operations.md").matchAll(/^\| `([^`]+) …`, `/gm);
    const messages = [...fatal].flatMap((match) => match[1] ?? []);
    expect(messages).toHaveLength(3);
    expect(messages.filter((message) => !sources.includes(`"${message}`))).toEqual([]);
  });
});
