import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import type { Rename } from "../../shared/db/rooms/names/rename-rooms.ts";

/** A room where it stands, and the slug that it is to have. */
type Standing = RoomAddress & { roomId: string; to: string };

/**
 * Puts renames into rounds: a room takes the slug of another one only after that has left it. Almost always there is one round. Of
 * rooms that exchange their slugs, one has its own id for a slug meanwhile.
 */
export function orderRenames(rooms: readonly Standing[]): Rename[][] {
  const taken = new Set(rooms.map(formatRoomKey));
  const rounds: Rename[][] = [];
  let waiting = rooms.filter(({ slug, to }) => slug !== to);
  while (waiting.length > 0) {
    const isFree = ({ kind, to }: Standing) => !taken.has(formatRoomKey({ kind, slug: to }));
    const free = waiting.filter(isFree);
    const [first] = waiting;
    if (free.length === 0 && first) {
      rounds.push([{ roomId: first.roomId, kind: first.kind, slug: first.roomId }]);
      taken.delete(formatRoomKey(first));
      waiting = waiting.map((room) => (room === first ? { ...room, slug: room.roomId } : room));
      continue;
    }
    rounds.push(free.map(({ roomId, kind, to }) => ({ roomId, kind, slug: to })));
    for (const room of free) taken.delete(formatRoomKey(room));
    for (const { kind, to } of free) taken.add(formatRoomKey({ kind, slug: to }));
    waiting = waiting.filter((room) => !free.includes(room));
  }
  return rounds;
}
