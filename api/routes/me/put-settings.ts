import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import { formatRoomKey } from "../../../shared/contract/names.ts";
import { roomSettings, type RoomSettings } from "../../../shared/contract/resources.ts";
import { readUpTo } from "../../../shared/db/memberships/signs/positions.ts";
import { changeSettings } from "../../../shared/db/memberships/settings.ts";
import type { AfterCommit } from "../../after-commit/after-commit.ts";
import type { SideEffect } from "../../after-commit/side-effects.ts";
import { pathRoom } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { requireReadAccess } from "../messages/room-access.ts";

const settingsBody = z
  .strictObject({
    notify: roomSettings.shape.notify.default("all"),
    mutedUntil: z.iso
      .datetime({ offset: true })
      .nullable()
      .default(null)
      .meta({ description: "A time in RFC 3339; a time that has passed mutes nothing" }),
    pinned: z.boolean().default(false),
    archived: z.boolean().default(false),
  })
  .meta({ id: "RoomSettingsRequest" });

const settingsAnswer = z
  .strictObject({ room: z.string(), settings: roomSettings })
  .meta({ id: "SettingsOfRoom" });

export type SettingsDeps = { db: Db; afterCommit: AfterCommit };

export function putSettingsRoute({ db, afterCommit }: SettingsDeps): Route {
  return userRoute(
    {
      method: "put",
      path: "/v1/me/rooms/{kind}/{slug}",
      tag: "me",
      summary: "Say what I want of a room",
      description:
        "The body says all settings: an absent one is all, null or false. My other devices receive them as settings on my own " +
        "channel; nobody else sees them. 403 for a locked user, 404 for a room that the user is not in.",
      body: {
        schema: settingsBody,
        example: { notify: "mentions", mutedUntil: null, pinned: true, archived: false },
      },
      answers: { 200: { schema: settingsAnswer, description: "The settings" } },
      problems: ["forbidden", "not_found", "invalid"],
    },
    async ({ caller, params, body }) => {
      const room = pathRoom(params);
      const access = await requireReadAccess(db, caller, room);
      const place = { tenantId: caller.tenantId, roomId: access.room_id, userId: access.user_id };
      const settings = readSettings(body);
      if (await changeSettings(db, place, settings)) afterCommit.perform(await describeEffects(db, place));
      return { status: 200, body: { room: formatRoomKey(room), settings } };
    },
  );
}

/** The member's devices receive the settings, and what is unread in total, which depends on them. */
async function describeEffects(db: Db, place: { roomId: string; userId: string }): Promise<SideEffect[]> {
  // Nobody reads less than 0 messages: the position stays.
  const position = await readUpTo(db, { ...place, number: 0 });
  return [
    { type: "publishUserEvents" },
    ...(position ? [{ type: "publishUnread" as const, positions: [position] }] : []),
  ];
}

function readSettings(body: z.output<typeof settingsBody>): RoomSettings {
  const { mutedUntil } = body;
  return { ...body, mutedUntil: mutedUntil === null ? null : new Date(mutedUntil).toISOString() };
}
