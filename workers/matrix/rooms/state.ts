import type { Requester } from "../http/client.ts";
import { unlessMissing } from "../http/failure.ts";
import { roomPath } from "./room-path.ts";

export async function putState(
  request: Requester,
  state: { matrixRoomId: string; type: string; content: Record<string, unknown> },
): Promise<void> {
  await request({
    method: "PUT",
    path: roomPath(state.matrixRoomId, `state/${encodeURIComponent(state.type)}`),
    body: state.content,
  });
}

/** The content of a state event; null when the room has none of that type and key. */
export async function getState(
  request: Requester,
  state: { matrixRoomId: string; type: string; key?: string },
): Promise<unknown> {
  const key = state.key === undefined ? "" : `/${encodeURIComponent(state.key)}`;
  return unlessMissing(
    request({
      method: "GET",
      path: roomPath(state.matrixRoomId, `state/${encodeURIComponent(state.type)}${key}`),
    }),
  );
}

/** A state event whole, with its sender; its key is empty. @throws MatrixFailure `missing` when the room has none of that type */
export function getStateEvent(
  request: Requester,
  state: { matrixRoomId: string; type: string },
): Promise<unknown> {
  return request({
    method: "GET",
    path: roomPath(state.matrixRoomId, `state/${encodeURIComponent(state.type)}`),
    query: { format: "event" },
  });
}
