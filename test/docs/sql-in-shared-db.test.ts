import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";

const root = join(import.meta.dirname, "..", "..");

const ALLOWED = ["shared/db/", "workers/inbound/", "shared/timeline/"];

/** A call that runs SQL, or a Statement. The doors are `rowsOf`, `execute`, knex's `raw`, and the text of a statement. */
const SQL =
  /\b(rowsOf|execute)(<[^;]*?>)?\(\s*\w|\b(db|trx|knex)\.raw\b|\bsql: |`\s*(with \w+ as|select|insert into|update \w+ (\w+\s+)?set|delete from)\s/;

function sourcesOf(tier: string): string[] {
  return readdirSync(join(root, tier), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `${tier}/${name}`);
}

test("every SQL statement of the program stands in shared/db/ or migrations/", () => {
  const sources = ["api", "realtime", "shared", "workers"].flatMap(sourcesOf);
  const withSql = sources.filter((path) => {
    const text = readFileSync(join(root, path), "utf8").replace(/policy\.execute\(/g, "");
    return SQL.test(text);
  });
  expect(withSql.filter((path) => path.startsWith("shared/db/")).length).toBeGreaterThan(20);
  expect(withSql.filter((path) => !ALLOWED.some((folder) => path.startsWith(folder)))).toEqual([]);
});
