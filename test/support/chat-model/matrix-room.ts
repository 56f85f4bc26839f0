import { MARKER } from "../../../workers/matrix/marker.ts";
import type { MatrixEvent } from "../../../workers/matrix/event.ts";
import type { FakeHomeserver, RecordedCall } from "../stack-fake-homeserver.ts";

/** Two events of one person are so far apart: the order of times is the order of acts. */
const APART_MS = 2;

export type NewEvent = { type: string; sender: string; content: Record<string, unknown>; isOld?: boolean };

/** A room of the fake homeserver: what stands there, and what nobody has read yet. */
export class MatrixRoom {
  readonly events: MatrixEvent[] = [];
  readonly #homeserver: FakeHomeserver;
  readonly #unread: MatrixEvent[] = [];
  #callsSeen = 0;
  #count = 0;

  constructor(homeserver: FakeHomeserver) {
    this.#homeserver = homeserver;
  }

  /** An event of another client; one that is old has a time before all others. */
  async add({ type, sender, content, isOld = false }: NewEvent): Promise<string> {
    const id = `$event${++this.#count}`;
    await new Promise((resolve) => setTimeout(resolve, APART_MS));
    this.#append({ event_id: id, type, sender, content, origin_server_ts: isOld ? this.#count : Date.now() });
    await new Promise((resolve) => setTimeout(resolve, APART_MS));
    return id;
  }

  /** Takes over what we have sent since the last look. */
  takeOver(): void {
    const calls = this.#homeserver.calls.slice(this.#callsSeen);
    this.#callsSeen = this.#homeserver.calls.length;
    for (const call of calls) {
      const event = eventOf(call);
      if (
        event &&
        this.#homeserver.isApplied(call.path) &&
        !this.events.some(({ event_id: id }) => id === event.event_id)
      )
        this.#append(event);
    }
  }

  /** The event that a message or an act of ours has on Matrix, by its id here; null before it is there. */
  ownEvent(id: string): string | null {
    return this.events.find(({ content }) => content[MARKER] === id)?.event_id ?? null;
  }

  /** At most so many events that nobody has read, mixed. */
  take(most: number, order: number): MatrixEvent[] {
    return shuffle(this.#unread.splice(0, most), order);
  }

  /** Every event from the beginning, as a homeserver gives it: what was redacted is empty. */
  takeAll(): MatrixEvent[] {
    this.#unread.length = 0;
    const redacted = new Set(this.events.map(({ content }) => content["redacts"]));
    return this.events.map((event) => (redacted.has(event.event_id) ? { ...event, content: {} } : event));
  }

  #append(event: MatrixEvent): void {
    this.events.push(event);
    this.#unread.push(event);
  }
}

function eventOf({ as: sender, path, query, body }: RecordedCall): MatrixEvent | null {
  const [verb = "", what = ""] = path.split("/").slice(3);
  const common = { event_id: `$${path}`, sender, origin_server_ts: Number(query["ts"] ?? Date.now()) };
  if (verb === "send") return { ...common, type: what, content: body };
  if (verb !== "redact") return null;
  return { ...common, type: "m.room.redaction", content: { ...body, redacts: decodeURIComponent(what) } };
}

/** The same order for the same number. */
function shuffle<T>(items: readonly T[], order: number): T[] {
  return items
    .map((item, index) => ({ item, key: Math.sin(order * 97 + index * 31) }))
    .toSorted((one, other) => one.key - other.key)
    .map(({ item }) => item);
}
