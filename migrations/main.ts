import { errorText } from "../shared/contract/errors.ts";
import { openDb } from "../shared/db/connection/open.ts";
import { migrateDown, migrateUp } from "./index.ts";

// `node dist/migrations/main.js` applies the missing migrations; with `down`, it reverts the last one.
const url = process.env["DATABASE_URL"];
if (!url) {
  process.stderr.write("DATABASE_URL is not set. See .env.example.\n");
  process.exit(2);
}
const db = openDb({ url, name: "migrate", max: 2, statementTimeoutMs: 600_000 });
try {
  const isDown = process.argv[2] === "down";
  const names = isDown ? await migrateDown(db) : await migrateUp(db);
  process.stdout.write(
    names.length === 0
      ? "schema is up to date\n"
      : `${isDown ? "took back" : "applied"} ${names.join(", ")}\n`,
  );
} catch (error) {
  process.stderr.write(`the migration failed: ${errorText(error)}\n`);
  process.exitCode = 1;
} finally {
  await db.destroy();
}
