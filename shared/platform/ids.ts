import { v5, v7 } from "uuid";
import { randomBytes, randomUUID } from "node:crypto";

/** A new row id: uuid v7, so that rows made later sort later. */
export function newId(): string {
  return v7();
}

/** A lease's fence or a channel's epoch: random, never reused. */
export function newFence(): string {
  return randomUUID();
}

/** A timeline entry's id for an event that is not ours: the same event in the same room always has the same. */
export function externalEntryId(roomId: string, eventId: string): string {
  return v5(eventId, roomId);
}

/** Lower-case letters and digits, `length` of them, from the system's randomness (5 bits each). */
export function randomToken(length: number): string {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  let token = "";
  for (const byte of randomBytes(length)) token += alphabet.charAt(byte % 32);
  return token;
}
