import type { Attack } from "./define.ts";

/** By the name that `npm run bench:attack -- --name NAME` takes. */
export const ATTACKS: Readonly<Record<string, Attack>> = {};
