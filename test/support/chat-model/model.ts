/** What everybody sees of a message at the end. */
export type Shown = "deleted" | { text: string; reactions: Record<string, number> };

type Modelled = {
  isDeleted: boolean;
  /** Texts by the act that gave them. The one with the highest rank counts. */
  texts: Map<string, { rank: number; text: string }>;
  /** Who reacted with which key, by the act. */
  reactions: Map<string, { by: string; key: string }>;
};

/** What is to become of messages, in whatever order the acts on them arrive: a deletion is for ever, all else may be withdrawn. */
export class ChatModel {
  readonly messages = new Map<string, Modelled>();

  post(id: string, text: string): void {
    const texts = new Map([["", { rank: -Infinity, text }]]);
    this.messages.set(id, { isDeleted: false, texts, reactions: new Map() });
  }

  edit(id: string, act: string, given: { rank: number; text: string }): void {
    this.messages.get(id)?.texts.set(act, given);
  }

  react(id: string, act: string, given: { by: string; key: string }): void {
    this.messages.get(id)?.reactions.set(act, given);
  }

  withdraw(id: string, act: string): void {
    this.messages.get(id)?.texts.delete(act);
    this.messages.get(id)?.reactions.delete(act);
  }

  delete(id: string): void {
    const message = this.messages.get(id);
    if (message) message.isDeleted = true;
  }

  shown(id: string): Shown {
    const message = this.messages.get(id);
    if (!message || message.isDeleted) return "deleted";
    const [newest] = [...message.texts.values()].toSorted((one, other) => other.rank - one.rank);
    const people = new Set([...message.reactions.values()].map(({ by, key }) => `${key} ${by}`));
    const counts: Record<string, number> = {};
    for (const each of people) {
      const key = each.slice(0, each.indexOf(" "));
      counts[key] = (counts[key] ?? 0) + 1;
    }
    return { text: newest?.text ?? "", reactions: counts };
  }
}
