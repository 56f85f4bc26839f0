import { z } from "zod";

/** The origin of a page, written as browsers write it: any other form would match no page. */
export const webOrigin = z.string().refine(isWebOrigin, {
  error: ({ input }) =>
    `${String(input)} is not an origin as browsers name it, such as https://app.example.org`,
});

function isWebOrigin(text: string): boolean {
  if (/^https?:/.test(text)) return URL.canParse(text) && new URL(text).origin === text;
  // Apps and extensions have origins of their own schemes, such as capacitor://localhost.
  return !/^(ftp|file|wss?):/.test(text) && /^[a-z][a-z0-9+.-]*:\/\/[^/\s]+$/.test(text);
}

/** A tenant's slug. */
export const tenantSlug = z.string().regex(/^[a-z][a-z0-9-]{1,31}$/, "must match ^[a-z][a-z0-9-]{1,31}$");

const USER_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}$/;

/** The tenant's own id of a user. Its case counts. */
export const userName = z.string().regex(USER_PATTERN, "must match ^[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}$");

/** The slug of an event's or a group's room. */
export const roomSlug = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._:@-]{0,63}$/, "must match ^[a-z0-9][a-z0-9._:@-]{0,63}$");

/** A slug of any kind of room, for the OpenAPI document: it cannot say which slugs belong to which kind. */
export const anySlug = z
  .string()
  .regex(
    /^([a-z0-9][a-z0-9._:@-]{0,63}|[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}~[A-Za-z0-9][A-Za-z0-9._:@-]{0,63})$/,
  );

const directSlug = z.string().refine((slug) => isDirectSlug(slug), {
  message: "must be two user ids, sorted by bytes and joined by ~",
});

export const roomKind = z.enum(["event", "group", "direct"]);
export type RoomKind = z.infer<typeof roomKind>;

/** The kind and the slug of a room; a direct room's slug is `a~b`. */
export const roomAddress = z.union([
  z.object({ kind: z.enum(["event", "group"]), slug: roomSlug }),
  z.object({ kind: z.literal("direct"), slug: directSlug }),
]);
export type RoomAddress = { kind: RoomKind; slug: string };

/** A room's key, which is also the name of its channel: `event:py-meetup`, `group:chess`, `direct:ada~bob`. */
export function formatRoomKey({ kind, slug }: RoomAddress): string {
  return `${kind}:${slug}`;
}

/** The address that a room's key stands for; null when the text is no room key. */
export function parseRoomKey(key: string): RoomAddress | null {
  const colon = key.indexOf(":");
  const parsed = roomAddress.safeParse({ kind: key.slice(0, colon), slug: key.slice(colon + 1) });
  return colon > 0 && parsed.success ? parsed.data : null;
}

/** The slug of the direct room of two different users, in either order. */
export function formatDirectSlug(a: string, b: string): string {
  // User ids are ASCII: comparing characters compares bytes.
  return a < b ? `${a}~${b}` : `${b}~${a}`;
}

/** The two users that a direct room's slug names. */
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
