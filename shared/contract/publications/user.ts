import { z } from "zod";
import { roomSettings } from "../resources/settings.ts";

/** What a person changed on another own device. */
export const userPublications = [
  z.object({ type: z.literal("settings"), room: z.string(), settings: roomSettings }),
] as const;
