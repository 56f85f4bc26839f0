import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";

/** Mutations of one room run one after the other under this key, see `createKeyedMutex`. */
export function roomMutexKey(tenantId: string, room: RoomAddress): string {
  return `${tenantId} ${formatRoomKey(room)}`;
}
