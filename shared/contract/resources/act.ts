import { z } from "zod";
import { messageError, messageStatus } from "./message.ts";

/** An act on a message: how far Matrix has followed it. */
export const actResource = z
  .object({ id: z.uuid(), status: messageStatus, error: messageError.nullable() })
  .meta({ id: "Act" });
export type ActResource = z.infer<typeof actResource>;
