import { credentials } from "./credentials.ts";
import type { Attack } from "./define.ts";
import { pings } from "./pings.ts";
import { sockets } from "./sockets.ts";
import { waits } from "./waits.ts";
import { createProvisioningAttack } from "./provisioning.ts";

/** By the name that `npm run bench:attack -- --name NAME` takes. */
export const ATTACKS: Readonly<Record<string, Attack>> = {
  credentials,
  pings,
  sockets,
  waits,
  provisioning: createProvisioningAttack("rooms"),
  "first-messages": createProvisioningAttack("messages"),
  "many-members": createProvisioningAttack("members"),
};
