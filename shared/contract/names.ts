import { z } from "zod";

/** Where a page comes from, as browsers name it: another way to write it would match no page. */
export const webOrigin = z.string().refine(isWebOrigin, {
  error: ({ input }) =>
    `${String(input)} is not an origin as browsers name it, such as https://app.example.org`,
});

function isWebOrigin(text: string): boolean {
  if (/^https?:/.test(text)) return URL.canParse(text) && new URL(text).origin === text;
  // Of apps and extensions, which name theirs in no other way: capacitor://localhost.
  return !/^(ftp|file|wss?):/.test(text) && /^[a-z][a-z0-9+.-]*:\/\/[^/\s]+$/.test(text);
}

/** A tenant's slug. */
export const tenantSlug = z.string().regex(/^[a-z][a-z0-9-]{1,31}$/, "must match ^[a-z][a-z0-9-]{1,31}$");

const USER_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}$/;

/** The tenant's own id of a user; case is kept. */
export const userName = z.string().regex(USER_PATTERN, "must match ^[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}$");

/** Slug of an event's or a group's room. */
export const roomSlug = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._:@-]{0,63}$/, "must match ^[a-z0-9][a-z0-9._:@-]{0,63}$");

const directSlug = z.string().refine((slug) => isDirectSlug(slug), {
  message: "must be two user ids, sorted by bytes and joined by ~",
});

export const roomKind = z.enum(["event", "group", "direct"]);
export type RoomKind = z.infer<typeof roomKind>;

/** Kind and slug of a room, checked against each other (a direct room's slug is `a~b`). */
export const roomAddress = z.union([
  z.object({ kind: z.enum(["event", "group"]), slug: roomSlug }),
  z.object({ kind: z.literal("direct"), slug: directSlug }),
]);
export type RoomAddress = { kind: RoomKind; slug: string };

/** A room's key, and its channel: `event:py-meetup`, `group:chess`, `direct:ada~bob`. */
export function formatRoomKey({ kind, slug }: RoomAddress): string {
  return `${kind}:${slug}`;
}

/** The address behind a room's key, or null when the text is no room key. */
export function parseRoomKey(key: string): RoomAddress | null {
  const colon = key.indexOf(":");
  const parsed = roomAddress.safeParse({ kind: key.slice(0, colon), slug: key.slice(colon + 1) });
  return colon > 0 && parsed.success ? parsed.data : null;
}

/** Slug of the direct room of two different users, the same whoever asks. */
export function formatDirectSlug(a: string, b: string): string {
  // User ids are ASCII: the order of their characters is that of their bytes.
  return a < b ? `${a}~${b}` : `${b}~${a}`;
}

/** The two users of a direct room's slug. */
export function parseDirectSlug(slug: string): [string, string] {
  const [a = "", b = ""] = slug.split("~");
  return [a, b];
}

function isDirectSlug(slug: string): boolean {
  const parts = slug.split("~");
  const [a = "", b = ""] = parts;
  return (
    parts.length === 2 &&
    a !== b &&
    USER_PATTERN.test(a) &&
    USER_PATTERN.test(b) &&
    formatDirectSlug(a, b) === slug
  );
}
