import type { Attack } from "./define.ts";
import { createProvisioningAttack } from "./provisioning.ts";

/** By the name that `npm run bench:attack -- --name NAME` takes. */
export const ATTACKS: Readonly<Record<string, Attack>> = {
  provisioning: createProvisioningAttack("rooms"),
  "first-messages": createProvisioningAttack("messages"),
  "many-members": createProvisioningAttack("members"),
};
