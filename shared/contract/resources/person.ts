import { z } from "zod";

/**
 * A person as clients show them. `user` is null for a person on Matrix whom the tenant does not know, and for one who was
 * deleted. `ref` is the same for all that one person does.
 */
export const person = z
  .object({
    ref: z.string().meta({ description: "Opaque and stable: one per person, also where user is null" }),
    user: z.string().nullable(),
    displayName: z.string().nullable(),
    avatar: z.string().nullable(),
  })
  .meta({ id: "Person" });
export type Person = z.infer<typeof person>;
