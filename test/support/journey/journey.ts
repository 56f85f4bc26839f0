import { afterAll, afterEach, beforeAll } from "@jest/globals";
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { rowsOf } from "../../../shared/db/connection/open.ts";
import { insertObserver } from "../../../shared/db/observers/observers.ts";
import { findTenantBySlug } from "../../../shared/db/tenants/tenants.ts";
import { Backend, Person, Socket, type ReceivedPublication } from "./clients.ts";
import { Synapse } from "./synapse.ts";
import { TIER_NAMES, type TierName } from "../../faults/environment/tiers.ts";
import { createTiers, runProgram, runToEnd, type Tier } from "./tiers.ts";
import { openTestDatabase, type TestDatabase } from "../db.ts";
import { openOwnRedis, readTestSynapse, type OwnRedis } from "../stack-servers.ts";
import { waitUntil } from "../stack-wait.ts";

const OPEN_LIMIT_MS = 120_000;
const WARNINGS_SHOWN = 15;

const tokenAnswer = z.object({ token: z.string(), expiresAt: z.string() });
const matrixLogin = z.strictObject({
  homeserverUrl: z.string(),
  matrixUserId: z.string(),
  deviceId: z.string(),
  accessToken: z.string(),
});
export type MatrixLogin = z.infer<typeof matrixLogin>;

/**
 * The whole product as processes of its own on the real servers, for the tests of one file: started before them,
 * checked after each of them, stopped after all. `env`: variables that override their environment.
 */
export function useJourney(env: () => Promise<Record<string, string>> = () => Promise.resolve({})): Journey {
  const journey = new Journey(env);
  beforeAll(() => journey.open(), OPEN_LIMIT_MS);
  afterEach(() => journey.checkProcesses());
  afterAll(() => journey.close(), OPEN_LIMIT_MS);
  return journey;
}

export class Journey {
  readonly synapse = new Synapse(readTestSynapse());
  readonly #secrets = new Set<string>();
  readonly #extraEnv: () => Promise<Record<string, string>>;
  readonly #sockets = new Set<Socket>();
  #database: TestDatabase | null = null;
  #redis: OwnRedis | null = null;
  #tiers: Record<TierName, Tier> | null = null;
  #env: NodeJS.ProcessEnv = {};
  #tenant: TenantSide | null = null;

  constructor(extraEnv: () => Promise<Record<string, string>>) {
    this.#extraEnv = extraEnv;
  }

  async open(): Promise<void> {
    const synapse = readTestSynapse();
    this.#database = await openTestDatabase();
    this.#redis = await openOwnRedis();
    this.#env = {
      PATH: process.env["PATH"],
      DATABASE_URL: this.#database.url,
      REDIS_URL: this.#redis.url,
      SYNAPSE_URL: synapse.url,
      SYNAPSE_SERVER_NAME: synapse.serverName,
      SYNAPSE_AS_TOKEN: synapse.asToken,
      SYNAPSE_REGISTRATION_SECRET: synapse.registrationSecret,
      // As the stack sets it for a Synapse of its own.
      MATRIX_READ: "events",
      BIND_ADDRESS: "127.0.0.1",
      SEAL_KEYS: `test:${randomBytes(32).toString("base64")}`,
      ...(await this.#extraEnv()),
    };
    for (const secret of [synapse.asToken, synapse.registrationSecret]) this.#secrets.add(secret);
    this.#tiers = await createTiers(this.#env);
    const tiers = this.#tiers;
    const [tenant] = await Promise.all([
      this.createTenant("acme"),
      ...TIER_NAMES.map((name) => tiers[name].start()),
    ]);
    this.#tenant = tenant;
  }

  /** The tenant that the file's tests share. */
  get tenant(): TenantSide {
    return required(this.#tenant);
  }

  tier(name: TierName): Tier {
    return required(this.#tiers)[name];
  }

  get apiUrl(): string {
    return `http://127.0.0.1:${this.tier("api").port}`;
  }

  get socketUrl(): string {
    return `ws://127.0.0.1:${this.tier("realtime").port}/connection/websocket`;
  }

  /** Makes a tenant as an operator does. */
  async createTenant(slug: string): Promise<TenantSide> {
    await this.admin(["tenant", "create", slug]);
    const answer = await this.admin(["key", "create", "--tenant", slug, "--role", "server"]);
    const { key } = z.object({ key: z.string() }).parse(answer);
    this.#secrets.add(key);
    return new TenantSide(this, slug, new Backend(this.apiUrl, key));
  }

  /** Runs an operators' command and returns what it printed. A command that found something wrong prints it too. */
  async admin(args: readonly string[]): Promise<unknown> {
    return (await this.adminWithCode(args)).printed;
  }

  /** Runs an operators' command. @throws Error when it printed no result. */
  async adminWithCode(args: readonly string[]): Promise<{ exitCode: number | null; printed: unknown }> {
    const { exitCode, output, errors } = await runToEnd(["workers/admin.js", ...args, "--json"], this.#env);
    if (output === "") throw new Error(`${args.join(" ")} failed (${String(exitCode)}): ${errors}`);
    return { exitCode, printed: JSON.parse(output) as unknown };
  }

  /** Adds an observer to a tenant, as a tenant with many rooms has. */
  async addObserver(slug: string): Promise<void> {
    const { db } = required(this.#database);
    const tenant = await findTenantBySlug(db, slug);
    await db.transaction((trx) => insertObserver(trx, required(tenant ?? null).id, this.synapse.serverName));
  }

  /** Runs a tool of the stack in a folder with a `.stack/demo.json`; returns what it printed. */
  runTool(args: readonly string[], folder: string): Promise<string> {
    return runProgram(args, this.#env, folder);
  }

  sql<Row>(text: string, bindings: readonly unknown[] = []): Promise<Row[]> {
    return rowsOf<Row>(required(this.#database).db, text, bindings);
  }

  /** Waits for a condition; a failure shows the processes' warnings. */
  waitFor<T>(
    what: string,
    look: () => T | null | undefined | false | Promise<T | null | undefined | false>,
    limitMs = 20_000,
  ): Promise<T> {
    return waitUntil(what, look, {
      limitMs,
      explain: () => this.#warnings().slice(-WARNINGS_SHOWN).join("\n"),
    });
  }

  async openSocket(person: Person): Promise<Socket> {
    const socket = new Socket(this.socketUrl, person.token);
    this.#sockets.add(socket);
    return socket.connect(person.user);
  }

  /** All data of the product in Redis, as one text. */
  async readRedis(): Promise<string> {
    return (await this.readRedisKeys()).map(({ key, text }) => `${text}\n${key}`).join("\n");
  }

  /** The same, key by key. */
  async readRedisKeys(): Promise<{ key: string; text: string }[]> {
    const { redis } = required(this.#redis);
    const read = async (key: string): Promise<unknown> => {
      const type = await redis.type(key);
      if (type === "hash") return redis.hgetall(key);
      if (type === "stream") return redis.xrange(key, "-", "+");
      if (type === "list") return redis.lrange(key, 0, -1);
      if (type === "zset") return redis.zrange(key, 0, -1);
      if (type === "set") return redis.smembers(key);
      return redis.get(key);
    };
    const keys = await redis.keys("*");
    return Promise.all(keys.map(async (key) => ({ key, text: JSON.stringify(await read(key)) })));
  }

  remember(secret: string): void {
    this.#secrets.add(secret);
  }

  /** Secrets: the tokens and keys that were handed out, and those of the configuration. */
  get secrets(): string[] {
    return [...this.#secrets];
  }

  /** Closes the test's sockets. @throws when a process has a fault or a secret in its log */
  checkProcesses(): void {
    for (const socket of this.#sockets) socket.end();
    this.#sockets.clear();
    if (!this.#tiers) return;
    const tiers = Object.values(this.#tiers);
    const faults = tiers.flatMap((tier) => tier.faults.splice(0));
    const leaks = tiers.flatMap((tier) =>
      tier.lines.filter((line) => this.#isLeak(line)).map((line) => `${tier.name}: ${line}`),
    );
    if (faults.length > 0)
      throw new Error(`${faults.join("\n")}\n${this.#warnings().slice(-WARNINGS_SHOWN).join("\n")}`);
    if (leaks.length > 0)
      throw new Error(`a secret or a Matrix id is in a log:\n${leaks.slice(0, 3).join("\n")}`);
  }

  async close(): Promise<void> {
    if (this.#tiers) await Promise.all(Object.values(this.#tiers).map((tier) => tier.stop()));
    await this.#redis?.remove();
    await this.#database?.close();
    this.checkProcesses();
  }

  #isLeak(line: string): boolean {
    if (/[@!#$][A-Za-z0-9_]{12,}:|\bsyt_|\beyJ[A-Za-z0-9_-]{20,}\./.test(line)) return true;
    return [...this.#secrets].some((secret) => line.includes(secret));
  }

  #warnings(): string[] {
    return Object.values(this.#tiers ?? {}).flatMap((tier) => tier.warnings());
  }
}

/** A tenant's backend and people. */
export class TenantSide {
  readonly slug: string;
  readonly server: Backend;
  readonly #journey: Journey;

  constructor(journey: Journey, slug: string, server: Backend) {
    this.#journey = journey;
    this.slug = slug;
    this.server = server;
  }

  /** A person with a token; the user is created when it does not exist. */
  async person(user: string, displayName = user): Promise<Person> {
    const userSchema = z.looseObject({ user: z.literal(user) });
    await this.server.expect(userSchema, "PUT", `/v1/users/${user}`, { body: { displayName } });
    const { token } = await this.server.expect(tokenAnswer, "POST", `/v1/users/${user}/tokens`, { body: {} });
    this.#journey.remember(token);
    return new Person(this.#journey.apiUrl, user, token);
  }

  people<const N extends readonly string[]>(...users: N): Promise<{ [K in keyof N]: Person }> {
    return Promise.all(users.map((user) => this.person(user))) as Promise<{ [K in keyof N]: Person }>;
  }

  /** A connected socket of a person. */
  socket(person: Person): Promise<Socket> {
    return this.#journey.openSocket(person);
  }

  /** Credentials for a plain Matrix client of a person, as an operator gets them. */
  async matrixLogin(user: string): Promise<MatrixLogin> {
    const login = matrixLogin.parse(
      await this.#journey.admin(["matrix", "login", "--tenant", this.slug, "--user", user]),
    );
    this.#journey.remember(login.accessToken);
    return login;
  }

  /** Matrix id of the tenant's observer. */
  async observer(): Promise<string> {
    const [row] = await this.#journey.sql<{ matrix_user_id: string }>(
      "select o.matrix_user_id from observers o join tenants t on t.id = o.tenant_id where t.slug = ?",
      [this.slug],
    );
    return required(row).matrix_user_id;
  }

  async matrixUserId(user: string): Promise<string> {
    const [row] = await this.#journey.sql<{ matrix_user_id: string }>(
      `select u.matrix_user_id from users u join tenants t on t.id = u.tenant_id
        where t.slug = ? and u.external_id = ? order by u.deleted_at nulls first limit 1`,
      [this.slug, user],
    );
    return required(row).matrix_user_id;
  }

  /** Matrix id of a room; waits until Matrix has it. */
  matrixRoomId(room: string): Promise<string> {
    const colon = room.indexOf(":");
    const [kind, slug] = [room.slice(0, colon), room.slice(colon + 1)];
    return this.#journey.waitFor(`${room} is on Matrix`, async () => {
      const [row] = await this.#journey.sql<{ matrix_room_id: string | null }>(
        `select r.matrix_room_id from rooms r join tenants t on t.id = r.tenant_id
          where t.slug = ? and r.kind = ? and r.slug = ? order by r.generation desc limit 1`,
        [this.slug, kind, slug],
      );
      return row?.matrix_room_id;
    });
  }

  /** Waits until a room has no pending work on Matrix for its messages and members. */
  async settled(room: string): Promise<void> {
    await this.#journey.waitFor(`${room} is settled`, async () => {
      const [row] = await this.#journey.sql<{ open: boolean }>(
        `select exists (select 1 from messages m where m.room_id = r.id and m.open) or r.next_attempt_at is not null
                or r.members_next_attempt_at is not null as open
           from rooms r join tenants t on t.id = r.tenant_id
          where t.slug = ? and r.kind || ':' || r.slug = ? and r.deleted_at is null`,
        [this.slug, room],
      );
      return row?.open === false;
    });
  }
}

/** The publications that carry a message. */
export function messagesOf(
  received: readonly ReceivedPublication[],
): { type: string; text: string; id: string; number: number | null }[] {
  return received.flatMap(({ data }) =>
    data.type === "message.created"
      ? [{ type: data.type, text: data.text, id: data.id, number: data.number }]
      : [],
  );
}

/** @throws when there is none: the journey is not open. */
export function required<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error("not there (is the journey open?)");
  return value;
}
