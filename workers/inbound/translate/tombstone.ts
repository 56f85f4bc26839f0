import type { MatrixEvent } from "../../matrix/event.ts";
import { NOTHING, type Translation } from "./translation.ts";

export function translateTombstone(_roomId: string, event: MatrixEvent): Translation {
  const successor = event.content["replacement_room"];
  const isRoomId = typeof successor === "string" && successor.startsWith("!");
  return isRoomId ? { kind: "successor", matrixRoomId: successor } : NOTHING;
}
