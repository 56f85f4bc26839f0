/** The path of a call about a room. */
export function roomPath(matrixRoomId: string, rest: string): string {
  return `/rooms/${encodeURIComponent(matrixRoomId)}/${rest}`;
}
