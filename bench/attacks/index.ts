import { credentials } from "./credentials.ts";
import type { Attack } from "./define.ts";
import { waits } from "./waits.ts";

/** By the name that `npm run bench:attack -- --name NAME` takes. */
export const ATTACKS: Readonly<Record<string, Attack>> = { credentials, waits };
