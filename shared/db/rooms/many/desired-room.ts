import type { Posting } from "../../../contract/permissions.ts";
import type { RoomJoin } from "../../../contract/resources.ts";

/** What a product or a person wants a room to be. */
export type DesiredRoom = {
  name: string;
  topic: string | null;
  avatar: string | null;
  visibility: "private" | "public";
  join: RoomJoin;
  posting: Posting;
  slowModeS: number;
  /** Absent in a new room: 0, for ever. */
  retentionDays?: number;
};
