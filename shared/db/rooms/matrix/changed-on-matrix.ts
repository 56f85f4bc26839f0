import type { Statement } from "../../connection/pipelined-transaction.ts";
import { membersDue } from "../../memberships/members-due.ts";

/** Someone on Matrix changed what the tenant decides: power levels, or the name, topic, avatar, join rules and the like. */
export type ConfigurationDrift = { roomId: string; what: "levels" | "description" };

/** An upgrade: the room goes on as another one on Matrix, in place of `predecessor`. */
export type Successor = { roomId: string; matrixRoomId: string; predecessor: string };

/** Records rooms that someone encrypted on Matrix; the first time counts. */
export function markEncrypted(roomIds: readonly string[]): Statement {
  return {
    sql: "update rooms set encrypted_at = coalesce(encrypted_at, now()) where id = any(?)",
    bindings: [[...roomIds]],
  };
}

/** Unknown users must not be in a private room: the members' job becomes due and removes them. */
export function noteUnknownUsers(roomIds: readonly string[]): Statement {
  return {
    sql: `update rooms set strangers_seen_at = now(), ${membersDue()}
      where id = any(?) and visibility = 'private' and deleted_at is null`,
    bindings: [[...roomIds]],
  };
}

/**
 * Records an upgrade. The room's provisioning becomes due and follows it, under the room's lease. An upgrade that is read
 * again after the room was replaced changes nothing.
 */
export function noteSuccessor({ roomId, matrixRoomId, predecessor }: Successor): Statement {
  return {
    sql: `update rooms set successor_matrix_room_id = ?, next_attempt_at = now()
      where id = ? and matrix_room_id = ? and deleted_at is null`,
    bindings: [matrixRoomId, roomId, predecessor],
  };
}

/** Makes the jobs due that restore what the tenant decides. */
export function markConfigurationDrift(drifts: readonly ConfigurationDrift[]): Statement {
  const roomsOf = (what: ConfigurationDrift["what"]) =>
    drifts.filter((drift) => drift.what === what).map((drift) => drift.roomId);
  return {
    sql: `update rooms
        set ${membersDue({ when: "id = any(:levels)" })},
            desired_version = desired_version + case when id = any(:descriptions) then 1 else 0 end,
            next_attempt_at = case when id = any(:descriptions) then now() else next_attempt_at end
      where id = any(:rooms) and deleted_at is null`,
    bindings: {
      levels: roomsOf("levels"),
      descriptions: roomsOf("description"),
      rooms: drifts.map((drift) => drift.roomId),
    },
  };
}
