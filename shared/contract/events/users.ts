import { z } from "zod";
import { userName } from "../names.ts";
import { avatarUrl, displayName } from "../room-fields.ts";
import { defineEvent } from "./define.ts";

export const userUpdated = defineEvent({
  type: "chat.user.updated",
  data: z.strictObject({
    user: userName,
    displayName: displayName.nullish(),
    avatar: avatarUrl.nullish(),
  }),
  example: { user: "ada", displayName: "Ada Lovelace", avatar: "https://example.org/ada.png" },
  effect:
    "The person is made if there is none. Fields that are given are changed: an absent one stays as it is, null clears it.",
});

export const userDeleted = defineEvent({
  type: "chat.user.deleted",
  data: z.strictObject({
    user: userName,
    erase: z
      .boolean()
      .optional()
      .meta({ description: "Also empties what the person wrote, in the background" }),
  }),
  example: { user: "ada" },
  effect:
    "The person is deleted: live sockets are closed and tokens are refused at once. The person leaves all rooms, and direct rooms " +
    "with the person are deleted; jobs finish that within seconds.",
});
