import { z } from "zod";

/** What a job about one room carries. */
export const roomPayload = z.strictObject({ tenantId: z.uuid(), roomId: z.uuid() });
export type RoomPayload = z.infer<typeof roomPayload>;

export function roomDeduplicationId({ tenantId, roomId }: RoomPayload): string {
  return `${tenantId}.${roomId}`;
}
