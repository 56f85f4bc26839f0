import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const root = join(import.meta.dirname, "..", "..", "..");
/** The files of the example of docs/client.md, in the order of its blocks. */
const FILES = ["open-room.mjs", "room.mjs"];

/** The example of docs/client.md as a program of its own on Node: it shows a room and sends what it reads. */
export class ClientExample {
  /** What it printed. */
  readonly lines: string[] = [];
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #folder: string;

  constructor(given: { apiUrl: string; socketUrl: string; room: string; token: string }) {
    // Inside the checkout, where the program finds the packages that it imports.
    mkdirSync(join(root, ".stack"), { recursive: true });
    this.#folder = mkdtempSync(join(root, ".stack", "client-example-"));
    const blocks = readBlocks();
    for (const [index, name] of FILES.entries()) writeFileSync(join(this.#folder, name), blocks[index] ?? "");
    this.#child = spawn(process.execPath, [join(this.#folder, "room.mjs")], {
      env: {
        PATH: process.env["PATH"],
        API_URL: given.apiUrl,
        SOCKET_URL: given.socketUrl,
        ROOM: given.room,
        TOKEN: given.token,
      },
    });
    for (const output of [this.#child.stdout, this.#child.stderr])
      createInterface({ input: output }).on("line", (line) => this.lines.push(line));
  }

  send(text: string): void {
    this.#child.stdin.write(`${text}\n`);
  }

  /** Ends its input, and returns its exit code. */
  async end(): Promise<number | null> {
    const ended = once(this.#child, "exit");
    this.#child.stdin.end();
    await ended;
    return this.#child.exitCode;
  }

  /** Ends it if it still runs, and removes its files. */
  async remove(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, "exit");
      this.#child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function readBlocks(): string[] {
  const [, example = ""] = readFileSync(join(root, "docs", "client.md"), "utf8").split("\n## An example\n");
  const blocks = [...example.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code = ""]) => code);
  if (blocks.length !== FILES.length) throw new Error("the example of docs/client.md has other blocks");
  return blocks;
}
