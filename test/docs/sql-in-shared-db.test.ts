import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { role } from "../../shared/contract/roles.ts";

const root = join(import.meta.dirname, "..", "..");

const ALLOWED = ["shared/db/"];

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

test("no statement outside migrations/ names a role: who may do what is a parameter", () => {
  const names = role.options.join("|");
  const literal = new RegExp(`\\brole\\s*(=|<>|(not )?in|=\\s*any)\\s*\\(?\\s*'(${names})'`);
  const sources = ["api", "realtime", "shared", "workers"].flatMap(sourcesOf);
  expect(sources.filter((path) => literal.test(readFileSync(join(root, path), "utf8")))).toEqual([]);
});
