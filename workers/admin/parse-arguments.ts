import { InvalidArgumentError } from "commander";
import { z } from "zod";
import { parseRoomKey, tenantSlug, userName, type RoomAddress } from "../../shared/contract/names.ts";

/** The arguments of operators' commands. Each function throws InvalidArgumentError, which says how one is written. */

export function parseSlug(text: string): string {
  if (!tenantSlug.safeParse(text).success)
    throw new InvalidArgumentError("A tenant's slug matches ^[a-z][a-z0-9-]{1,31}$.");
  return text;
}

export function parseUser(text: string): string {
  if (!userName.safeParse(text).success) throw new InvalidArgumentError("This cannot be a user id.");
  return text;
}

export function parseId(text: string): string {
  if (!z.uuid().safeParse(text).success) throw new InvalidArgumentError("A message's id is a uuid.");
  return text;
}

export function parseTime(text: string): Date {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) throw new InvalidArgumentError("Such as 2026-11-30T20:00:00Z.");
  return time;
}

export function parseKey(text: string): RoomAddress {
  const address = parseRoomKey(text);
  if (!address) throw new InvalidArgumentError("A room's key is event:slug, group:slug or direct:a~b.");
  return address;
}
