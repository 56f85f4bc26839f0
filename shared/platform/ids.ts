import { v5, v7 } from "uuid";
import { randomBytes, randomUUID } from "node:crypto";

/** A new row id. It is a uuid v7, so later rows sort later. */
export function newId(): string {
  return v7();
}

/** When a uuid v7 was made, in milliseconds, by the clock of its process. */
export function timeOfId(id: string): number {
  return Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16);
}

/** A fence of a lease or an epoch of a channel: random, never reused. */
export function newFence(): string {
  return randomUUID();
}

/** The timeline entry's id of an external event: one event in one room always has the same id. */
export function externalEntryId(roomId: string, eventId: string): string {
  return v5(eventId, roomId);
}

/** The transaction id under which the act `actId` redacts a further event: always the same one. */
export function furtherTransactionId(actId: string, eventId: string): string {
  return v5(eventId, actId);
}

/** The `ref` of a person without a user, by whatever names the person. `scope`: the id of the tenant. */
export function personRef(name: string, scope: string): string {
  return v5(name, scope);
}

/** `length` random characters: lower-case letters and the digits 2 to 7, 5 bits each. */
export function randomToken(length: number): string {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  let token = "";
  for (const byte of randomBytes(length)) token += alphabet.charAt(byte % 32);
  return token;
}
