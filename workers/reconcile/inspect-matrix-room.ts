import { z } from "zod";
import type { Requester } from "../matrix/http/client.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import { EventType } from "../matrix/names.ts";
import { fetchCreation } from "../matrix/rooms/creation.ts";
import { listMemberships, presentOf } from "../matrix/rooms/members.ts";
import { roomPath } from "../matrix/rooms/room-path.ts";
import { getState } from "../matrix/rooms/state.ts";
import { findObstacle, type Obstacle } from "./configuration/find-obstacle.ts";

/** What decides whether a Matrix room can be adopted, and what is taken over from it. */
export type InspectedRoom = {
  isObserverIn: boolean;
  obstacle: Obstacle | null;
  isEncrypted: boolean;
  /** It goes on as another room. */
  isReplaced: boolean;
  name: string | null;
  topic: string | null;
  /** Matrix ids of who is in it, or invited. */
  people: string[];
};

const OUT: InspectedRoom = {
  ...{ isObserverIn: false, obstacle: null, isEncrypted: false, isReplaced: false },
  ...{ name: null, topic: null, people: [] },
};

const named = z.object({ name: z.string().min(1) });
const withTopic = z.object({ topic: z.string().min(1) });

/** Joins the observer, if it is invited or everybody may join, and reads the room's state. @throws MatrixFailure */
export async function inspectMatrixRoom(
  request: Requester,
  { matrixRoomId, observer }: { matrixRoomId: string; observer: string },
): Promise<InspectedRoom> {
  if (!(await isJoined(request, matrixRoomId))) return OUT;
  const read = (type: string) => getState(request, { matrixRoomId, type });
  const creation = await fetchCreation(request, matrixRoomId);
  return {
    isObserverIn: true,
    obstacle: findObstacle(creation, await read(EventType.RoomPowerLevels), observer),
    isEncrypted: (await read(EventType.RoomEncryption)) !== null,
    isReplaced: (await read(EventType.RoomTombstone)) !== null,
    name: named.safeParse(await read(EventType.RoomName)).data?.name ?? null,
    topic: withTopic.safeParse(await read(EventType.RoomTopic)).data?.topic ?? null,
    people: presentOf(await listMemberships(request, matrixRoomId)),
  };
}

async function isJoined(request: Requester, matrixRoomId: string): Promise<boolean> {
  try {
    await request({ method: "POST", path: roomPath(matrixRoomId, "join"), body: {} });
    return true;
  } catch (error) {
    if (error instanceof MatrixFailure && REFUSED.has(error.kind)) return false;
    throw error;
  }
}

const REFUSED: ReadonlySet<MatrixFailure["kind"]> = new Set(["forbidden", "missing", "permanent", "unclear"]);

/** Why a Matrix room cannot be adopted, and what to do; null when it can. `observer`: the Matrix id of the tenant's bot. Pure. */
export function whyNotAdoptable(room: InspectedRoom, observer: string): string | null {
  if (!room.isObserverIn)
    return `The bot ${observer} is not in the room: invite it, give it the power level 100, and repeat the command.`;
  if (room.isEncrypted) return "The room is encrypted: its messages cannot be read.";
  if (room.isReplaced) return "The room was upgraded: adopt the room that replaces it.";
  return room.obstacle?.isObserverWeak === true
    ? `The bot ${observer} needs the power level 100 in the room: give it that, and repeat the command.`
    : null;
}
