import { Command, CommanderError, Option } from "commander";
import { ConfigError, readConfig, type Config } from "../../shared/platform/config.ts";
import { isDbUnavailable } from "../../shared/db/connection/failures.ts";
import { openDb, type Db } from "../../shared/db/connection/open.ts";
import { AppError, errorText } from "../../shared/contract/errors.ts";
import { scrub } from "../../shared/platform/log.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import { adoptRoom, type AdoptOptions } from "./adopt.ts";
import { diagnose } from "./diagnose.ts";
import { createKey, listKeys, revokeKey } from "./keys.ts";
import { logInToMatrix } from "./matrix.ts";
import { parseId, parseKey, parseSlug, parseTime, parseUser } from "./parse-arguments.ts";
import { reseal, rotateTokenKey, showTokenKey } from "./seals.ts";
import { replayMessage, replayRoom } from "./replay.ts";
import { resendRoom } from "./resend.ts";
import { markRestored } from "./restored.ts";
import { showRoom } from "./room.ts";
import { createTenantNamed, limitTenant, listAllTenants, setStatus } from "./tenants.ts";
import { createToken, revokeTokens } from "./token.ts";

/** The work of a command. Its result is plain data, printed as JSON or as lines. */
type Work<Result> = (context: { db: Db; config: Config }) => Promise<Result>;
/** Runs the work of a command and prints its result. `isWrong`: whether the result makes the command exit with 1. */
type Run = <Result>(
  command: Command,
  work: Work<Result>,
  isWrong?: (result: Result) => boolean,
) => Promise<void>;

const EXIT = { ok: 0, failed: 1, wrongUse: 2 } as const;

/** Runs one command and returns its exit code: 0 done, 1 failed or found something wrong, 2 wrong use. */
export async function run(args: readonly string[], env: Record<string, string | undefined>): Promise<number> {
  let exitCode: number = EXIT.ok;
  const program = createProgram(async (command, work, isWrong) => {
    const result = await runCommand(command, env, work);
    if (isWrong?.(result)) exitCode = EXIT.failed;
  });
  try {
    await program.parseAsync([...args], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.wrongUse;
    process.stderr.write(`${describeFailure(error)}\n`);
    return error instanceof AppError && error.code === "invalid" ? EXIT.wrongUse : EXIT.failed;
  }
}

function createProgram(runWork: Run): Command {
  const program = new Command("admin").description("Operators' commands").exitOverride();
  addTenantCommands(program.command("tenant").description("Customer products"), runWork);
  addKeyCommands(program.command("key").description("API keys"), runWork);
  addSecretCommands(program, runWork);
  const token = program.command("token").description("User tokens");
  withTenant(token.command("create"))
    .requiredOption("--user <id>", "whose token", parseUser)
    .description("Sign a token of one hour")
    .action(async (options: { tenant: string; user: string }, command: Command) => {
      await runWork(command, ({ db, config }) => createToken(db, config.sealKeys, options));
    });
  const tokens = program
    .command("user")
    .description("Users")
    .command("tokens")
    .description("A user's tokens");
  withJson(tokens.command("revoke"))
    .argument("<tenant>", "which tenant", parseSlug)
    .argument("<user>", "whose tokens", parseUser)
    .description("Refuse the user's tokens that were signed until now, and close their sockets; audited")
    .action(async (tenant: string, user: string, _options: unknown, command: Command) => {
      await runWork(command, ({ db }) => revokeTokens(db, { tenant, user }));
    });
  addRoomCommands(program.command("room").description("Rooms"), runWork);
  addRepairCommands(program, runWork);
  const matrix = program.command("matrix").description("The homeserver");
  withTenant(matrix.command("login"))
    .requiredOption("--user <id>", "as whom", parseUser)
    .description("A credential for a plain Matrix client; audited")
    .action(async (options: { tenant: string; user: string }, command: Command) => {
      await runWork(command, ({ db, config }) => logInToMatrix(db, config, options));
    });
  return program;
}

function addRoomCommands(room: Command, runWork: Run): void {
  withRoom(room.command("show"))
    .description("Everything that the tables hold of a room; audited")
    .action(async (tenant: string, address: RoomAddress, _options: unknown, command: Command) => {
      await runWork(command, ({ db }) => showRoom(db, { tenant, address }));
    });
  withRoom(room.command("diagnose"))
    .option("--repair", "repair the room and report what is left")
    .description("How a room differs from what the tenant wants; exits with 1 when it does; audited")
    .action(async (tenant: string, address: RoomAddress, options: { repair?: boolean }, command: Command) => {
      const repair = options.repair === true;
      await runWork(
        command,
        ({ db, config }) => diagnose(db, config, { tenant, address, repair }),
        ({ differences, notRepaired }) => differences.length > 0 || notRepaired !== undefined,
      );
    });
  withTenant(room.command("adopt"))
    .argument("<key>", "event:slug or group:slug, which no room has", parseKey)
    .argument("<matrixRoomId>", "which Matrix room, such as !abc:example.org")
    .option("--since <time>", "without what is older, as ISO 8601", parseTime)
    .option("--name <name>", "instead of the room's name on Matrix")
    .addOption(
      new Option("--visibility <visibility>", "of the room here")
        .choices(["private", "public"])
        .default("private"),
    )
    .description("Take a Matrix room over with its history, which is read in the background; audited")
    .action(async (address: RoomAddress, matrixRoomId: string, options: AdoptOptions, command: Command) => {
      await runWork(command, ({ db, config }) =>
        adoptRoom(db, config, { ...options, address, matrixRoomId }),
      );
    });
  withRoom(room.command("replay"))
    .option("--code <code>", "only those with this error")
    .description("Send the room's dead messages again, in their order; audited")
    .action(async (tenant: string, address: RoomAddress, options: { code?: string }, command: Command) => {
      const code = options.code ?? null;
      await runWork(command, ({ db }) => replayRoom(db, { tenant, address, code }));
    });
  withRoom(room.command("resend"))
    .option("--since <time>", "only those accepted since, as ISO 8601", parseTime)
    .description("Send the messages again that Matrix has lost, in their order, however many; audited")
    .action(async (tenant: string, address: RoomAddress, options: { since?: Date }, command: Command) => {
      const since = options.since ?? null;
      await runWork(command, ({ db, config }) => resendRoom(db, config, { tenant, address, since }));
    });
}

function addRepairCommands(program: Command, runWork: Run): void {
  withJson(program.command("message").description("Messages").command("replay"))
    .argument("<id>", "which message", parseId)
    .description("Send a dead message again; audited")
    .action(async (id: string, _options: unknown, command: Command) => {
      await runWork(command, ({ db }) => replayMessage(db, id));
    });
  withJson(program.command("restored"))
    .description("After Postgres was restored from a backup, before the processes start; audited")
    .action(async (_options: unknown, command: Command) => {
      await runWork(command, ({ db }) => markRestored(db));
    });
}

function addSecretCommands(program: Command, runWork: Run): void {
  const tokenKey = program.command("token-key").description("The key that signs a tenant's user tokens");
  withTenant(tokenKey.command("show"))
    .description("Show it, for a product that signs its own tokens; audited")
    .action(async (options: { tenant: string }, command: Command) => {
      await runWork(command, ({ db, config }) => showTokenKey(db, config, options.tenant));
    });
  withTenant(tokenKey.command("rotate"))
    .description("Sign with a new key; tokens of the former key stay valid until the next rotation")
    .action(async (options: { tenant: string }, command: Command) => {
      await runWork(command, ({ db, config }) => rotateTokenKey(db, config, options.tenant));
    });
  const seals = program.command("seal").description("Secrets in the database");
  withJson(seals.command("rotate"))
    .description("Seal everything with the first of SEAL_KEYS; then the others may be removed")
    .action(async (_options: unknown, command: Command) => {
      await runWork(command, ({ db, config }) => reseal(db, config));
    });
}

function addTenantCommands(tenant: Command, runWork: Run): void {
  withJson(tenant.command("create"))
    .argument("<slug>", "name of the tenant", parseSlug)
    .description("Create a tenant; an existing one is not changed")
    .action(async (slug: string, _options: unknown, command: Command) => {
      await runWork(command, ({ db, config }) => createTenantNamed(db, config, slug));
    });
  withJson(tenant.command("list"))
    .description("Tenants, by name")
    .action(async (_options: unknown, command: Command) => {
      await runWork(command, ({ db }) => listAllTenants(db));
    });
  withJson(tenant.command("limits"))
    .argument("<slug>", "name of the tenant", parseSlug)
    .argument("[changes...]", "name=value; an empty value restores the default")
    .description("Show or change a tenant's limits")
    .action(async (slug: string, changes: string[], _options: unknown, command: Command) => {
      await runWork(command, ({ db }) => limitTenant(db, slug, changes));
    });
  for (const [name, status] of [
    ["pause", "paused"],
    ["resume", "active"],
  ] as const) {
    withJson(tenant.command(name))
      .argument("<slug>", "name of the tenant", parseSlug)
      .description(status === "paused" ? "Refuse the tenant's callers" : "Serve the tenant's callers again")
      .action(async (slug: string, _options: unknown, command: Command) => {
        await runWork(command, ({ db }) => setStatus(db, slug, status));
      });
  }
}

function addKeyCommands(key: Command, runWork: Run): void {
  withTenant(key.command("create"))
    .addOption(
      new Option("--role <role>", "what it may do")
        .choices(["server", "operator", "viewer"])
        .makeOptionMandatory(),
    )
    .description("Create a key; it is shown once")
    .action(async (options: { tenant: string; role: "server" | "operator" | "viewer" }, command: Command) => {
      await runWork(command, ({ db }) => createKey(db, options));
    });
  withTenant(key.command("list"))
    .description("Keys of a tenant, without their secrets")
    .action(async (options: { tenant: string }, command: Command) => {
      await runWork(command, ({ db }) => listKeys(db, options.tenant));
    });
  withJson(key.command("revoke"))
    .argument("<id>", "id of the key")
    .description("Revoke the key")
    .action(async (id: string, _options: unknown, command: Command) => {
      await runWork(command, ({ db }) => revokeKey(db, id));
    });
}

function withJson(command: Command): Command {
  return command.option("--json", "answer in JSON").exitOverride();
}

function withRoom(command: Command): Command {
  return withJson(command)
    .argument("<tenant>", "which tenant", parseSlug)
    .argument("<key>", "event:slug, group:slug or direct:a~b", parseKey);
}

function withTenant(command: Command): Command {
  return withJson(command).requiredOption("--tenant <slug>", "which tenant", parseSlug);
}

async function runCommand<Result>(
  command: Command,
  env: Record<string, string | undefined>,
  work: Work<Result>,
): Promise<Result> {
  const config = readConfig(env);
  const db = openDb({ url: config.databaseUrl, name: "admin", max: 2 });
  try {
    const result = await work({ db, config });
    process.stdout.write(
      command.opts()["json"] === true ? `${JSON.stringify(result)}\n` : formatPlain(result),
    );
    return result;
  } finally {
    await db.destroy();
  }
}

/** Lines of `name value`; a list has a blank line between its items. */
function formatPlain(answer: unknown): string {
  if (Array.isArray(answer)) return answer.length === 0 ? "none\n" : answer.map(formatPlain).join("\n");
  if (typeof answer !== "object" || answer === null) return `${String(answer)}\n`;
  return Object.entries(answer)
    .map(([name, value]) => `${name}  ${typeof value === "object" ? JSON.stringify(value) : String(value)}\n`)
    .join("");
}

function describeFailure(error: unknown): string {
  if (error instanceof ConfigError || error instanceof AppError) return error.message;
  const why = scrub(errorText(error));
  if (isDbUnavailable(error)) return `Postgres (DATABASE_URL) did not answer: ${why}`;
  // By its name: loading its class loads the Matrix client, which is slow.
  if (error instanceof Error && error.name === "MatrixFailure")
    return `The homeserver (SYNAPSE_URL) ${"httpStatus" in error && error.httpStatus !== null ? "refused" : "did not answer"}: ${why}`;
  return `It failed: ${why}`;
}
