import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { ConfigError, readConfig, type Config } from "../../shared/platform/config.ts";
import { openDb, type Db } from "../../shared/db/connection/open.ts";
import { AppError, errorText } from "../../shared/contract/errors.ts";
import { scrub } from "../../shared/platform/log.ts";
import { parseRoomKey, tenantSlug, userName, type RoomAddress } from "../../shared/contract/names.ts";
import { diagnose } from "./diagnose.ts";
import { createKey, listKeys, revokeKey } from "./keys.ts";
import { logInToMatrix } from "./matrix.ts";
import { reseal, rotateTokenKey, showTokenKey } from "./seals.ts";
import { showRoom } from "./room.ts";
import { createTenantNamed, limitTenant, listAllTenants, pauseTenant } from "./tenants.ts";
import { createToken } from "./token.ts";

/** The work of a command; what it answers is plain data, shown as JSON or as lines. */
type Act = (context: { db: Db; config: Config }) => Promise<unknown>;

const EXIT = { ok: 0, failed: 1, wrongUse: 2 } as const;

/** Runs one operators' command and returns its exit code: 0 done, 1 failed, 2 wrong use. */
export async function run(args: readonly string[], env: Record<string, string | undefined>): Promise<number> {
  const program = createProgram(env);
  try {
    await program.parseAsync([...args], { from: "user" });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.wrongUse;
    process.stderr.write(`${describeFailure(error)}\n`);
    return EXIT.failed;
  }
}

function createProgram(env: Record<string, string | undefined>): Command {
  const act = (command: Command, work: Act) => perform(command, env, work);
  const program = new Command("admin").description("What operators do").exitOverride();
  addTenantCommands(program.command("tenant").description("Customer products"), act);
  addKeyCommands(program.command("key").description("API keys"), act);
  addSecretCommands(program, act);
  const token = program.command("token").description("User tokens");
  withTenant(token.command("create"))
    .requiredOption("--user <id>", "whose token", parseUser)
    .description("Sign a token of one hour")
    .action(async (options: { tenant: string; user: string }, command: Command) => {
      await act(command, ({ db, config }) => createToken(db, config.sealKeys, options));
    });
  const room = program.command("room").description("Rooms");
  withRoom(room.command("show"))
    .description("Everything the tables say of a room; audited")
    .action(async (tenant: string, address: RoomAddress, _options: unknown, command: Command) => {
      await act(command, ({ db }) => showRoom(db, { tenant, address }));
    });
  withRoom(room.command("diagnose"))
    .option("--repair", "put it right, and look again")
    .description("What a room should be on Matrix and is not; audited")
    .action(async (tenant: string, address: RoomAddress, options: { repair?: boolean }, command: Command) => {
      const repair = options.repair === true;
      await act(command, ({ db, config }) => diagnose(db, config, { tenant, address, repair }));
    });
  const matrix = program.command("matrix").description("The homeserver");
  withTenant(matrix.command("login"))
    .requiredOption("--user <id>", "as whom", parseUser)
    .description("A credential for a plain Matrix client; audited")
    .action(async (options: { tenant: string; user: string }, command: Command) => {
      await act(command, ({ db, config }) => logInToMatrix(db, config, options));
    });
  return program;
}

type Perform = (command: Command, work: Act) => Promise<void>;

function addSecretCommands(program: Command, act: Perform): void {
  const tokenKey = program.command("token-key").description("The key that signs a tenant's user tokens");
  withTenant(tokenKey.command("show"))
    .description("For a product that signs its own; audited")
    .action(async (options: { tenant: string }, command: Command) => {
      await act(command, ({ db, config }) => showTokenKey(db, config, options.tenant));
    });
  withTenant(tokenKey.command("rotate"))
    .description("Sign with a new key; tokens of the key before it stay good until the next rotation")
    .action(async (options: { tenant: string }, command: Command) => {
      await act(command, ({ db, config }) => rotateTokenKey(db, config, options.tenant));
    });
  const seals = program.command("seal").description("Secrets in the database");
  withJson(seals.command("rotate"))
    .description("Seal everything with the first of SEAL_KEYS, after which the others may go")
    .action(async (_options: unknown, command: Command) => {
      await act(command, ({ db, config }) => reseal(db, config));
    });
}

function addTenantCommands(tenant: Command, act: Perform): void {
  withJson(tenant.command("create"))
    .argument("<slug>", "name of the tenant", parseSlug)
    .description("Make a tenant; one that is there is left as it is")
    .action(async (slug: string, _options: unknown, command: Command) => {
      await act(command, ({ db, config }) => createTenantNamed(db, config, slug));
    });
  withJson(tenant.command("list"))
    .description("Tenants, by name")
    .action(async (_options: unknown, command: Command) => {
      await act(command, ({ db }) => listAllTenants(db));
    });
  withJson(tenant.command("limits"))
    .argument("<slug>", "name of the tenant", parseSlug)
    .argument("[changes...]", "name=value; nothing after = goes back to the default")
    .description("What a tenant may use, shown and changed")
    .action(async (slug: string, changes: string[], _options: unknown, command: Command) => {
      await act(command, ({ db }) => limitTenant(db, slug, changes));
    });
  for (const [name, status] of [
    ["pause", "paused"],
    ["resume", "active"],
  ] as const) {
    withJson(tenant.command(name))
      .argument("<slug>", "name of the tenant", parseSlug)
      .description(status === "paused" ? "Refuse the tenant's callers" : "Serve the tenant's callers again")
      .action(async (slug: string, _options: unknown, command: Command) => {
        await act(command, ({ db }) => pauseTenant(db, slug, status));
      });
  }
}

function addKeyCommands(key: Command, act: Perform): void {
  withTenant(key.command("create"))
    .addOption(
      new Option("--role <role>", "what it may do")
        .choices(["server", "operator", "viewer"])
        .makeOptionMandatory(),
    )
    .description("Make a key; it is shown once")
    .action(async (options: { tenant: string; role: "server" | "operator" | "viewer" }, command: Command) => {
      await act(command, ({ db }) => createKey(db, options));
    });
  withTenant(key.command("list"))
    .description("Keys of a tenant, without their secrets")
    .action(async (options: { tenant: string }, command: Command) => {
      await act(command, ({ db }) => listKeys(db, options.tenant));
    });
  withJson(key.command("revoke"))
    .argument("<id>", "id of the key")
    .description("Refuse the key from now on")
    .action(async (id: string, _options: unknown, command: Command) => {
      await act(command, ({ db }) => revokeKey(db, id));
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

async function perform(command: Command, env: Record<string, string | undefined>, work: Act): Promise<void> {
  const config = readConfig(env);
  const db = openDb({ url: config.databaseUrl, name: "admin", max: 2 });
  try {
    const answer = await work({ db, config });
    process.stdout.write(
      command.opts()["json"] === true ? `${JSON.stringify(answer)}\n` : formatPlain(answer),
    );
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

function parseSlug(text: string): string {
  if (!tenantSlug.safeParse(text).success)
    throw new InvalidArgumentError("A tenant's slug matches ^[a-z][a-z0-9-]{1,31}$.");
  return text;
}

function parseUser(text: string): string {
  if (!userName.safeParse(text).success) throw new InvalidArgumentError("This cannot be a user id.");
  return text;
}

function parseKey(text: string): RoomAddress {
  const address = parseRoomKey(text);
  if (!address) throw new InvalidArgumentError("A room's key is event:slug, group:slug or direct:a~b.");
  return address;
}

function describeFailure(error: unknown): string {
  if (error instanceof ConfigError || error instanceof AppError) return error.message;
  return `It failed: ${scrub(errorText(error))}`;
}
