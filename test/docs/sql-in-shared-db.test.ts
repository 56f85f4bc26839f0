import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";

const root = join(import.meta.dirname, "..", "..");

const ALLOWED = ["shared/db/", "workers/inbound/", "shared/timeline/"];

/** What runs SQL or holds its text: an import of the doors, knex's own calls, a Statement, a text that begins like one. */
const SQL = [
  /import \{[^}]*\b(rowsOf|execute)\b[^}]*\}/,
  /\b(db|trx)(\.raw)?\(/,
  /\b[A-Z]\w*\.query\(/,
  /\bsql: /,
  /[`"]\s*(with \w+ as|select [\w(*$]|insert into \w|update \w+ (\w+\s+)?set|delete from \w)/,
];

function sourcesOf(tier: string): string[] {
  return readdirSync(join(root, tier), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `${tier}/${name}`);
}

test("every SQL statement of the program stands in shared/db/ or migrations/", () => {
  const sources = ["api", "realtime", "shared", "workers"].flatMap(sourcesOf);
  const withSql = sources.filter((path) => {
    const text = readFileSync(join(root, path), "utf8");
    return SQL.some((pattern) => pattern.test(text));
  });
  expect(withSql.filter((path) => path.startsWith("shared/db/")).length).toBeGreaterThan(20);
  expect(withSql.filter((path) => !ALLOWED.some((folder) => path.startsWith(folder)))).toEqual([]);
});
