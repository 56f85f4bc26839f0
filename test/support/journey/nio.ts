import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach } from "@jest/globals";
import { z } from "zod";
import type { MatrixLogin } from "./journey.ts";
import { requireVariable } from "../stack-servers.ts";

const SCRIPT = fileURLToPath(new URL("nio_client.py", import.meta.url));
const ANSWER_LIMIT_MS = 20_000;
const ADVICE =
  "the independent Matrix client is missing: run the tests with npm test, which installs matrix-nio";

const answer = z.looseObject({ error: z.string().optional() });
const texts = z.object({
  texts: z.array(z.object({ sender: z.string(), body: z.string(), event: z.string() })),
});
const event = z.object({ event: z.string() });
const signs = z.object({ typing: z.array(z.string()), read: z.record(z.string(), z.string()) });
const nioEvent = z.object({
  event: z.string(),
  type: z.string(),
  sender: z.string(),
  content: z.record(z.string(), z.unknown()),
  /** What it is to `target`, another event. */
  relation: z.string().nullable(),
  target: z.string().nullable(),
  key: z.string().nullable(),
  /** Its content was redacted. */
  pruned: z.boolean(),
});
export type NioEvent = z.infer<typeof nioEvent>;
const events = z.object({ events: z.array(nioEvent) });

const running = new Set<NioClient>();
afterEach(async () => {
  await Promise.all([...running].map((client) => client.close()));
});

/** matrix-nio in a process of its own: an independent Matrix client. It is closed after the test. */
export class NioClient {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: ((line: string) => void)[] = [];
  #errors = "";

  private constructor(python: string) {
    this.#child = spawn(python, [SCRIPT]);
    this.#child.stderr.on("data", (data: Buffer) => (this.#errors += data.toString()));
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#waiting.shift()?.(line));
    running.add(this);
  }

  /** @throws with advice when matrix-nio is missing. */
  static async open(login: MatrixLogin): Promise<NioClient> {
    const client = new NioClient(requireVariable("TEST_NIO_PYTHON", ADVICE));
    await client.#ask(answer, {
      do: "open",
      homeserver: login.homeserverUrl,
      user: login.matrixUserId,
      device: login.deviceId,
      token: login.accessToken,
    });
    return client;
  }

  async join(room: string): Promise<void> {
    await this.#ask(answer, { do: "join", room });
  }

  /** Texts of a room, oldest first, with their senders. */
  async read(room: string): Promise<{ sender: string; body: string; event: string }[]> {
    return (await this.#ask(texts, { do: "read", room })).texts;
  }

  /** Events of a room, oldest first, with what they are about. */
  async readAll(room: string): Promise<NioEvent[]> {
    return (await this.#ask(events, { do: "read_all", room })).events;
  }

  send(room: string, text: string): Promise<string> {
    return this.sendContent(room, { msgtype: "m.text", body: text });
  }

  /** Sends a message with any content, or another event; returns its id. */
  async sendContent(
    room: string,
    content: Record<string, unknown>,
    type = "m.room.message",
  ): Promise<string> {
    return (await this.#ask(event, { do: "send", room, content, type })).event;
  }

  /** Reacts to an event with a key; returns the reaction's id. */
  async react(room: string, target: string, key: string): Promise<string> {
    return (await this.#ask(event, { do: "react", room, event: target, key })).event;
  }

  async edit(room: string, target: string, text: string): Promise<string> {
    return (await this.#ask(event, { do: "edit", room, event: target, text })).event;
  }

  async reply(room: string, target: string, text: string): Promise<string> {
    return (await this.#ask(event, { do: "reply", room, event: target, text })).event;
  }

  async redact(room: string, target: string, reason?: string): Promise<string> {
    return (await this.#ask(event, { do: "redact", room, event: target, reason })).event;
  }

  async type(room: string, isTyping: boolean): Promise<void> {
    await this.#ask(answer, { do: "typing", room, is_typing: isTyping });
  }

  async sendReceipt(room: string, target: string): Promise<void> {
    await this.#ask(answer, { do: "receipt", room, event: target });
  }

  /** Who is typing in a room, and the last event that each has read. */
  signs(room: string): Promise<z.infer<typeof signs>> {
    return this.#ask(signs, { do: "signs", room });
  }

  async kick(room: string, user: string, reason?: string): Promise<void> {
    await this.#ask(answer, { do: "kick", room, user, reason });
  }

  async ban(room: string, user: string, reason?: string): Promise<void> {
    await this.#ask(answer, { do: "ban", room, user, reason });
  }

  async unban(room: string, user: string): Promise<void> {
    await this.#ask(answer, { do: "unban", room, user });
  }

  async leave(room: string): Promise<void> {
    await this.#ask(answer, { do: "leave", room });
  }

  async putState(room: string, type: string, content: Record<string, unknown>): Promise<void> {
    await this.#ask(answer, { do: "put_state", room, type, content });
  }

  async close(): Promise<void> {
    running.delete(this);
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), ANSWER_LIMIT_MS);
    await ended;
    clearTimeout(timer);
  }

  async #ask<T>(schema: z.ZodType<T>, command: Record<string, unknown>): Promise<T> {
    const line = await new Promise<string>((resolve, reject) => {
      const fail = () =>
        reject(new Error(`matrix-nio did not answer ${String(command["do"])}: ${this.#errors}\n${ADVICE}`));
      const timer = setTimeout(fail, ANSWER_LIMIT_MS);
      this.#child.once("error", fail);
      this.#child.once("exit", fail);
      this.#waiting.push((text) => {
        clearTimeout(timer);
        this.#child.off("error", fail).off("exit", fail);
        resolve(text);
      });
      this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    });
    const said: unknown = JSON.parse(line);
    const { error } = answer.parse(said);
    if (error !== undefined) throw new Error(`matrix-nio: ${error}`);
    return schema.parse(said);
  }
}
