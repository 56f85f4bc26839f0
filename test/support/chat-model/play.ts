import type { ActContent } from "../../../shared/contract/content/acts.ts";
import type { Chat, Snapshot } from "./chat.ts";
import { ChatModel } from "./model.ts";
import type { MatrixEvent } from "../../../workers/matrix/event.ts";
import { WRITERS, type Step } from "./schedule.ts";

/** Below all others. */
const OLD = -1_000_000;
const ALL = 1_000;

/** A message: its author, its id here, and the acts of other clients on it that stand. */
type Known = { id: string; author: string; isOurs: boolean; edits: Standing[]; reactions: Standing[] };
type Standing = { event: string; by: string };
type Writer = (typeof WRITERS)[number];
type StepOf<T extends Step["do"]> = Extract<Step, { do: T }>;

/** Plays a schedule in a room and in the model. */
export class Play {
  readonly model = new ChatModel();
  readonly snapshots: Snapshot[] = [];
  /** Up to where each has read, by the rules; none for one who is no member. */
  readonly positions = new Map<string, number>(WRITERS.map((writer) => [writer, 0]));
  readonly #chat: Chat;
  readonly #messages: Known[] = [];
  readonly #counted = new Set<string>();
  #acts = 0;

  constructor(chat: Chat) {
    this.#chat = chat;
  }

  async play(steps: readonly Step[]): Promise<void> {
    for (const step of [...steps, ...ENDING]) {
      await this.#take(step);
      await this.#look();
    }
    // What is sent when the last is received is received too.
    for (
      let events = this.#chat.matrix.take(ALL, 0);
      events.length > 0;
      events = this.#chat.matrix.take(ALL, 0)
    ) {
      await this.#chat.receive(events);
      await this.#look();
    }
  }

  /** Whose text it is here, by the message's id. */
  get messages(): readonly Pick<Known, "id" | "isOurs">[] {
    return this.#messages;
  }

  async #take(step: Step): Promise<void> {
    const { matrix } = this.#chat;
    switch (step.do) {
      case "post":
        return this.#post(step.by);
      case "edit":
        return this.#edit(this.#message(step.on));
      case "delete":
        return this.#delete(this.#message(step.on), step.by);
      case "react":
      case "unreact":
        return this.#react(step);
      case "post on Matrix":
        return this.#postOnMatrix(step.by);
      case "edit on Matrix":
        return this.#editOnMatrix(this.#message(step.on), step);
      case "edit on Matrix what another wrote":
        return this.#misedit(this.#message(step.on), step.by);
      case "delete on Matrix":
        return this.#deleteOnMatrix(this.#message(step.on), step.by);
      case "react on Matrix":
        return this.#reactOnMatrix(step);
      case "withdraw on Matrix":
        return this.#withdrawOnMatrix(this.#message(step.on), step.of);
      case "send to Matrix":
        return this.#chat.send({ isRefused: step.refused });
      case "replay what is dead":
        return this.#chat.replayDead();
      case "receive":
        return this.#receive(matrix.take(step.most, step.order));
      case "receive through a gap":
        return this.#chat.receiveThroughGap(matrix.take(ALL, step.order));
      case "read again from the beginning":
        return this.#chat.readAgain(matrix.takeAll());
      case "read up to":
      case "mark as unread":
        return this.#move(step);
      case "add cy":
        if (!this.positions.has("cy")) this.positions.set("cy", this.#last());
        return this.#chat.addMember("cy");
      case "remove cy":
        this.positions.delete("cy");
        return this.#chat.removeMember("cy");
    }
  }

  async #receive(events: readonly MatrixEvent[]): Promise<void> {
    if (events.length > 0) await this.#chat.receive(events);
  }

  async #post(by: Writer): Promise<void> {
    const text = this.#name("text");
    const id = await this.#chat.post(by, text);
    if ((id !== null) !== this.positions.has(by)) throw new Error(`${by} may post, or not`);
    if (id !== null) this.#add({ id, author: by, isOurs: true, edits: [], reactions: [] }, text);
  }

  async #postOnMatrix(by: string): Promise<void> {
    const text = this.#name("text");
    const event = await this.#chat.onMatrix(by, message({ msgtype: "m.text", body: text }));
    this.#add({ id: this.#chat.idOf(event), author: by, isOurs: false, edits: [], reactions: [] }, text);
  }

  async #edit({ id, author }: Known): Promise<void> {
    const text = this.#name("edit");
    const act = await this.#chat.act(author, id, {
      ...{ kind: "edit", of: "text", text, format: "plain", html: null },
      mentions: { users: [], room: false },
    });
    if (act !== null) this.model.edit(id, act, { rank: ++this.#acts, text });
  }

  async #delete({ id, author }: Known, by: "author" | "mia"): Promise<void> {
    const person = by === "author" ? author : by;
    if ((await this.#chat.act(person, id, { kind: "deletion", reason: null })) !== null)
      this.model.delete(id);
  }

  async #react({ do: what, on, by, key }: StepOf<"react" | "unreact">): Promise<void> {
    const { id } = this.#message(on);
    const content: ActContent = { kind: what === "react" ? "reaction" : "unreaction", key };
    if ((await this.#chat.act(by, id, content)) === null) return;
    if (what === "react") this.model.react(id, `${by} ${key}`, { by, key });
    else this.model.withdraw(id, `${by} ${key}`);
  }

  async #editOnMatrix(known: Known, { isOld }: { isOld: boolean }): Promise<void> {
    const target = this.#eventOf(known);
    if (target === null || !this.#isOnMatrix(known.author)) return;
    const text = this.#name("edit");
    const event = await this.#chat.onMatrix(known.author, { ...edit(target, text), isOld });
    known.edits.push({ event, by: known.author });
    this.model.edit(known.id, event, { rank: ++this.#acts + (isOld ? OLD : 0), text });
  }

  async #misedit(known: Known, by: string): Promise<void> {
    const target = this.#eventOf(known);
    if (target !== null && by !== known.author)
      await this.#chat.onMatrix(by, edit(target, this.#name("edit")));
  }

  async #deleteOnMatrix(known: Known, by: "author" | "mia"): Promise<void> {
    const target = this.#eventOf(known);
    const person = by === "author" ? known.author : by;
    if (target === null || !this.#isOnMatrix(person)) return;
    await this.#chat.onMatrix(person, redaction(target));
    this.model.delete(known.id);
  }

  async #reactOnMatrix({ on, by, key }: StepOf<"react on Matrix">): Promise<void> {
    const known = this.#message(on);
    const target = this.#eventOf(known);
    if (target === null) return;
    const relation = { rel_type: "m.annotation", event_id: target, key };
    const event = await this.#chat.onMatrix(by, {
      type: "m.reaction",
      content: { "m.relates_to": relation },
    });
    known.reactions.push({ event, by });
    this.model.react(known.id, event, { by, key });
  }

  /** An edit or a reaction that was made on Matrix is redacted by the same person. */
  async #withdrawOnMatrix(known: Known, of: number): Promise<void> {
    const standing = [...known.edits, ...known.reactions];
    const taken = standing[of % Math.max(1, standing.length)];
    if (!taken) return;
    known.edits = known.edits.filter((each) => each !== taken);
    known.reactions = known.reactions.filter((each) => each !== taken);
    await this.#chat.onMatrix(taken.by, redaction(taken.event));
    this.model.withdraw(known.id, taken.event);
  }

  async #move({ do: what, by, back }: StepOf<"read up to" | "mark as unread">): Promise<void> {
    const number = Math.max(0, this.#last() - back);
    const before = this.positions.get(by);
    if (what === "read up to") await this.#chat.readUpTo(by, number);
    else await this.#chat.markUnread(by, number);
    if (before === undefined) return;
    this.positions.set(by, what === "read up to" ? Math.max(before, number) : Math.max(number, 1) - 1);
  }

  /** The page at this moment. Who has posted has read up to there. */
  async #look(): Promise<void> {
    const page = await this.#chat.page();
    this.snapshots.push(page);
    for (const { id, number, sender } of page.items) {
      const before = this.positions.get(sender.user ?? "");
      if (this.#counted.has(id)) continue;
      this.#counted.add(id);
      if (before !== undefined) this.positions.set(sender.user ?? "", Math.max(before, number ?? 0));
    }
  }

  #add(known: Known, text: string): void {
    this.#messages.push(known);
    this.model.post(known.id, text);
  }

  #message(on: number): Known {
    const known = this.#messages[on % this.#messages.length];
    if (!known) throw new Error("a schedule begins with a message");
    return known;
  }

  #eventOf({ id, isOurs }: Known): string | null {
    if (isOurs) return this.#chat.matrix.ownEvent(id);
    return (
      this.#chat.matrix.events.find(({ event_id: event }) => this.#chat.idOf(event) === id)?.event_id ?? null
    );
  }

  /** Who was removed here is not in the room on Matrix either. */
  #isOnMatrix(person: string): boolean {
    return person !== "cy";
  }

  #last(): number {
    return this.snapshots.at(-1)?.number ?? 0;
  }

  #name(what: string): string {
    return `${what} ${String(++this.#acts)}`;
  }
}

/** Everything is sent and received. */
const ENDING: readonly Step[] = [
  { do: "replay what is dead" },
  { do: "send to Matrix", refused: false },
  { do: "receive", most: ALL, order: 1 },
  { do: "send to Matrix", refused: false },
];

function message(content: Record<string, unknown>) {
  return { type: "m.room.message", content };
}

function edit(target: string, text: string) {
  const content = { msgtype: "m.text", body: text };
  const relation = { rel_type: "m.replace", event_id: target };
  return message({ ...content, body: `* ${text}`, "m.new_content": content, "m.relates_to": relation });
}

function redaction(target: string) {
  return { type: "m.room.redaction", content: { redacts: target } };
}
