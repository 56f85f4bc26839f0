import { removeMember } from "../../../api/mutations/remove-member.ts";
import type { ActContent } from "../../../shared/contract/content/acts.ts";
import type { MessageResource } from "../../../shared/contract/resources.ts";
import { upsertMembers } from "../../../shared/db/memberships/memberships.ts";
import { markUnreadFrom, readUpTo, type Position } from "../../../shared/db/memberships/signs/positions.ts";
import type { LeasedObserver } from "../../../shared/db/observers/observer-lease.ts";
import type { Room } from "../../../shared/db/rooms/rooms.ts";
import { listTimelineMessages, readPosition } from "../../../shared/db/timeline/pages.ts";
import { externalEntryId } from "../../../shared/platform/ids.ts";
import { presentTimelineMessage } from "../../../shared/timeline/present/message.ts";
import { publishAppended, publishRooms, type PublishableRow } from "../../../shared/timeline/publish.ts";
import { replayRoom } from "../../../workers/admin/replay.ts";
import { restartReading } from "../../../workers/inbound/save-gaps.ts";
import { saveChanges } from "../../../workers/inbound/save-changes.ts";
import { handleOutboundMessage } from "../../../workers/jobs/outbound-message.ts";
import { handleRoomSync } from "../../../workers/jobs/room-sync.ts";
import type { MatrixEvent } from "../../../workers/matrix/event.ts";
import { FakeHomeserver } from "../stack-fake-homeserver.ts";
import type { Workplace } from "../stack-workplace.ts";
import { MatrixRoom, type NewEvent } from "./matrix-room.ts";

const PAGE = 200;
const PAGES_OF_A_GAP = 2;

/** A page as a client reads it, and up to which entry it is. */
export type Snapshot = { number: number; items: MessageResource[] };

/** One room: people here and on Matrix. Both ways are the product's own, on a fake homeserver. */
export class Chat {
  readonly matrix: MatrixRoom;
  readonly room: Room;
  readonly #place: Workplace;
  readonly #homeserver = new FakeHomeserver();
  readonly #observer: LeasedObserver & { fence: string };
  readonly #known = new Map<string, string>();
  #position = 0;

  constructor(place: Workplace, observer: LeasedObserver & { fence: string }, room: Room) {
    this.#place = place;
    this.#observer = observer;
    this.room = room;
    this.matrix = new MatrixRoom(this.#homeserver);
  }

  /** How often the homeserver was called. */
  get calls(): number {
    return this.#homeserver.calls.length;
  }

  /** Returns the id; null for one who may not. */
  async post(by: string, text: string): Promise<string | null> {
    const [acceptance] = await this.#place.tryAccept(this.room, by, text);
    if (!acceptance || !("entry" in acceptance)) return null;
    await this.#publish(acceptance.entry);
    return acceptance.message.id;
  }

  /** Returns the id of an act that changed something. */
  async act(by: string, target: string, content: ActContent): Promise<string | null> {
    const acceptance = await this.#place.act(this.room, by, target, content);
    if (acceptance.outcome !== "done") return null;
    await this.#publish(acceptance.entry);
    return acceptance.id;
  }

  /** An event of another client; a person of ours is named by the user's id. */
  async onMatrix(by: string, event: Omit<NewEvent, "sender">): Promise<string> {
    const [row] = await this.#place.sql<{ id: string }>(
      "select matrix_user_id as id from users where tenant_id = ? and external_id = ?",
      [this.#place.tenantId, by],
    );
    return this.matrix.add({ ...event, sender: row?.id ?? `@${by}:test` });
  }

  /** The id here of a message that another client sent. */
  idOf(eventId: string): string {
    return externalEntryId(this.room.id, eventId);
  }

  /** Sends what waits. `isRefused`: the homeserver refuses the first for good. */
  async send({ isRefused = false } = {}): Promise<void> {
    if (isRefused) this.#homeserver.refuse(/\/send\//, "permanent");
    const { id: roomId } = this.room;
    await this.#place.sql(
      "update room_outbox set next_attempt_at = now() where room_id = ? and next_attempt_at is not null",
      [roomId],
    );
    await handleOutboundMessage(this.#context(), { tenantId: this.#place.tenantId, roomId });
    this.#homeserver.forget();
    this.matrix.takeOver();
  }

  async replayDead(): Promise<void> {
    const { kind, slug } = this.room;
    await replayRoom(this.#place.db, { tenant: "acme", address: { kind, slug }, code: null });
    await publishRooms(this.#place, [this.room.id]);
  }

  /** An observer reads events at once. */
  async receive(events: readonly MatrixEvent[], { limited = false } = {}): Promise<void> {
    await saveChanges(this.#context(), this.#running(), `s${this.#position}`, {
      next_batch: `s${++this.#position}`,
      rooms: { join: { [`!${this.room.id}`]: { timeline: { events: [...events], limited } } }, leave: {} },
    });
    this.matrix.takeOver();
  }

  /** An observer reads the last events; the answer says that there are others before them. */
  async receiveThroughGap(events: readonly MatrixEvent[]): Promise<void> {
    const size = Math.max(1, Math.ceil(events.length / PAGES_OF_A_GAP));
    await this.receive(events.slice(-1), { limited: true });
    for (let from = 0; from < events.length; from += size) {
      const isLast = from + size >= events.length;
      const chunk = events.slice(from, from + size);
      this.#homeserver.answer(/\/messages$/, { chunk, ...(isLast ? {} : { end: `p${from + size}` }) });
    }
    if (events.length === 0) this.#homeserver.answer(/\/messages$/, { chunk: [] });
    await this.#fillGap();
  }

  /** The room is read from its beginning: the homeserver has forgotten the position. */
  async readAgain(events: readonly MatrixEvent[]): Promise<void> {
    await restartReading(this.#context(), this.#running(), { to: `s${++this.#position}`, left: [] });
    this.#homeserver.answer(/\/messages$/, { chunk: events }, { isKept: true });
    await this.#fillGap();
    this.#homeserver.forget();
  }

  async addMember(user: string): Promise<void> {
    const userId = await this.#place.userId(user);
    await upsertMembers(this.#place.db, this.#place.tenantId, this.room.id, [{ userId, role: "member" }]);
  }

  async removeMember(user: string): Promise<void> {
    const { kind, slug } = this.room;
    await removeMember(this.#place.db, this.#place.tenantId, { kind, slug }, user);
    await publishRooms(this.#place, [this.room.id]);
  }

  /** Moves a position, and returns where it stands; undefined for one who is no member. */
  async readUpTo(user: string, number: number): Promise<Position | undefined> {
    const reading = { roomId: this.room.id, userId: await this.#place.userId(user), number };
    return readUpTo(this.#place.db, reading);
  }

  async markUnread(user: string, number: number): Promise<void> {
    const reading = { roomId: this.room.id, userId: await this.#place.userId(user), number };
    await markUnreadFrom(this.#place.db, reading);
  }

  /** The newest page. */
  async page(): Promise<Snapshot> {
    const { tenantId, db } = this.#place;
    const position = await readPosition(db, tenantId, this.room.id);
    const rows = await listTimelineMessages(db, tenantId, this.room.id, { edge: null, limit: PAGE });
    return { number: position?.lastNumber ?? 0, items: rows.map(presentTimelineMessage) };
  }

  async #fillGap(): Promise<void> {
    await handleRoomSync(this.#context(), { tenantId: this.#place.tenantId, roomId: this.room.id });
    this.matrix.takeOver();
  }

  async #publish(entry: PublishableRow): Promise<void> {
    await publishAppended(this.#place, [entry]);
  }

  #context() {
    return this.#place.context(this.#homeserver);
  }

  #running() {
    return {
      observer: this.#observer,
      fence: this.#observer.fence,
      signal: new AbortController().signal,
      known: this.#known,
      reading: { fromStream: false, isConfirmed: false, roomsComparedAtMs: null },
    };
  }
}
