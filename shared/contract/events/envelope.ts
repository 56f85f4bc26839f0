import { z } from "zod";

const attribute = (maxLength: number) =>
  z
    .string()
    .min(1, "is needed")
    .max(maxLength, `has at most ${maxLength} characters`)
    // Attributes may travel as headers, and no text of them may hold these.
    // eslint-disable-next-line no-control-regex
    .regex(/^[^\u0000-\u001f\u007f]*$/, "holds a control character");

/**
 * The attributes of CloudEvents 1.0 that are read. `source` and `id` together name an event. Others, and extensions, are
 * allowed and have no effect.
 */
export const eventAttributes = z.object({
  specversion: z.literal("1.0", "must be 1.0"),
  id: attribute(256),
  source: attribute(1_024),
  type: attribute(256),
  time: z.iso.datetime({ offset: true, error: "must be a time as RFC 3339 writes it" }).optional(),
  datacontenttype: z
    .string()
    .regex(/^application\/json(\s*;.*)?$/i, "must be application/json")
    .optional(),
});
