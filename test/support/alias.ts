import { createHash } from "node:crypto";

/** The alias that a room gets at its creation, as version 0.3 computed it each time. */
export function aliasLocalpart(room: {
  tenantId: string;
  kind: string;
  slug: string;
  generation: number;
}): string {
  const identity = JSON.stringify([room.tenantId, room.kind, room.slug, room.generation]);
  return `omc_${createHash("sha256").update(identity).digest("hex").slice(0, 40)}`;
}
