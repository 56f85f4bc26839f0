import { z } from "zod";
import {
  roomAddress,
  roomSlug,
  userName,
  type RoomAddress,
  type RoomKind,
} from "../../shared/contract/names.ts";
import { posting } from "../../shared/contract/permissions.ts";
import { roomJoin } from "../../shared/contract/resources.ts";
import { role } from "../../shared/contract/roles.ts";
import { AppError } from "../../shared/contract/errors.ts";

export { avatarUrl, displayName, visibility } from "../../shared/contract/room-fields.ts";

export const join = roomJoin.meta({
  description:
    "Whether users of the tenant may join a public room by themselves; a private room has no use of it",
});

export const postingField = posting.meta({
  description: "Who may write: everyone but guests, or speakers and above. Members react in both",
});
export const slowModeS = z
  .int()
  .min(0)
  .max(3_600)
  .meta({ description: "Seconds that a member waits between two messages; 0 for none" });

export const retentionDays = z.int().min(0).max(3_650).meta({
  description: "For how many days messages stay; older ones are removed within some hours; 0 for ever",
});

export const clientId = z
  .string()
  .regex(/^[\x21-\x7e]{1,128}$/, "must be 1 to 128 visible ASCII characters")
  .meta({ description: "The sender's own id of the message. A message with the same id is accepted once." });

export const NAMED_TWICE = "names a user twice";
export function namesEachOnce(list: readonly { user: string }[]): boolean {
  return new Set(list.map(({ user }) => user)).size === list.length;
}

const desiredMember = z.strictObject({
  user: userName,
  role: role.default("member").meta({
    description: "Left out it is member, also for somebody who has another role",
  }),
});

const MAX_MEMBERS = 1_000;
/** Members whom one request may name. */
export const membersList = (most: number) =>
  z
    .array(desiredMember)
    .max(most)
    .refine(namesEachOnce, NAMED_TWICE)
    .meta({
      uniqueItems: true,
      description:
        "A user may be named once, whatever the role. Users who do not exist are created without a name, and are pending; a " +
        "tenant with the setting unknownUsers=refuse gets 422 instead, whose errors name the place of each.",
    });
export const desiredMembers = membersList(MAX_MEMBERS);

/** Members of a request's list `members`, each with its place in the request. */
export function placeMembers<T extends z.output<typeof desiredMember>>(
  members: readonly T[],
): (T & { place: string })[] {
  return members.map((member, index) => ({ ...member, place: `members.${index}.user` }));
}

const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, "must be a whole number")
    .transform(Number)
    .pipe(z.int().min(min).max(max));

/** The number of items of a page. */
export const pageLimit = wholeNumber(1, 100)
  .default(50)
  .meta({ description: "The number of items of a page" });
export const timelineNumber = wholeNumber(0, 999_999_999_999_999);
export const cursorText = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,300}$/, "is not a cursor")
  .meta({
    description:
      "The next of the page before, to read on from there. Any other text is refused with 422, also where the pattern allows it.",
  });
export const nextCursor = z
  .string()
  .nullable()
  .meta({ description: "The cursor of the next page; null on the last one" });

/** Makes an opaque cursor of a position. */
export function encodeCursor(text: string): string {
  return Buffer.from(text, "utf8").toString("base64url");
}

/** The position behind a cursor. @throws AppError `invalid` when `parse` returns null. */
export function decodeCursor<T>(cursor: string | undefined, parse: (text: string) => T | null): T | null {
  if (cursor === undefined) return null;
  const parsed = parse(Buffer.from(cursor, "base64url").toString("utf8"));
  if (parsed === null)
    throw new AppError("invalid", "The query is not valid.", {
      errors: [{ path: "cursor", message: "is not a cursor" }],
    });
  return parsed;
}

type Params = Readonly<Record<string, string>>;

/** The room that a path names. @throws AppError `not_found` if no room can have that address. */
export function pathRoom(params: Params): RoomAddress {
  const parsed = roomAddress.safeParse({ kind: params["kind"], slug: params["slug"] });
  if (!parsed.success) throw new AppError("not_found", "There is no such room.");
  return parsed.data;
}

/** The user that a path names. @throws AppError `not_found` if no user can have that name. */
export function pathUser(params: Params): string {
  const parsed = userName.safeParse(params["user"]);
  if (!parsed.success) throw new AppError("not_found", "There is no such user.");
  return parsed.data;
}

/** The address of a new room. @throws AppError `not_found` for an unknown kind, `invalid` for an invalid slug. */
export function pathNewRoom(params: Params): RoomAddress {
  const parsed = roomAddress.safeParse({ kind: params["kind"], slug: params["slug"] });
  if (parsed.success) return parsed.data;
  const kinds: readonly (string | undefined)[] = ["event", "group", "direct"] satisfies RoomKind[];
  if (!kinds.includes(params["kind"])) throw new AppError("not_found", "There is no such kind of room.");
  const message =
    params["kind"] === "direct"
      ? "must be two user ids, sorted by bytes and joined by ~"
      : slugError(params["slug"]);
  throw new AppError("invalid", "The path is not valid.", { errors: [{ path: "slug", message }] });
}

function slugError(slug: string | undefined): string {
  return roomSlug.safeParse(slug).error?.issues[0]?.message ?? "is not a slug";
}

/** The name of a new user. @throws AppError `invalid` for an invalid name. */
export function pathNewUser(params: Params): string {
  const parsed = userName.safeParse(params["user"]);
  if (parsed.success) return parsed.data;
  const message = parsed.error.issues[0]?.message ?? "is not a user id";
  throw new AppError("invalid", "The path is not valid.", { errors: [{ path: "user", message }] });
}
