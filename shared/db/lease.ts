/**
 * A lease is the right of one process to work on one row. The row keeps the holder's fence (a random id) and the time at
 * which the lease ends. A statement of the holder names its fence, so that it changes nothing after somebody else has
 * acquired the lease. Rooms: `rooms/room-lease.ts`. Observers: `observers/observer-lease.ts`.
 */

/** How long a lease lasts without being renewed. A dead holder's work is acquired by another process after it. */
export const LEASE_MS = 6_000;

/** The condition that the lease of `:roomId` is held under `:fence`. */
export const HOLDS_ROOM_LEASE = "room_id = :roomId and fence = :fence and lease_until > now()";

/** One row when the lease of `:roomId` is held under `:fence`. It stays held until the statement ends: the row is locked. */
export const LOCK_ROOM_LEASE = `
  select 1 from room_outbox where ${HOLDS_ROOM_LEASE} for update`;
