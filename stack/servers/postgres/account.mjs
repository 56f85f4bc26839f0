import { readFileSync } from "node:fs";
import { Fault } from "../../machine/fault.mjs";
import { isRoot } from "../../machine/paths.mjs";
import { runToEnd } from "../../machine/processes.mjs";

const ownAccount = "openmeet-chat";

/**
 * The account that runs Postgres, which refuses root. Undefined for an ordinary user, whose own account runs it.
 * @returns {Promise<{name: string, uid: number, gid: number} | undefined>}
 */
export async function ensureServerAccount() {
  if (!isRoot) return undefined;
  const existing = findAccount("postgres") ?? findAccount(ownAccount);
  if (existing !== undefined) return existing;
  for (const command of [
    ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ownAccount],
    ["adduser", "-S", "-D", "-H", "-s", "/sbin/nologin", ownAccount],
  ]) {
    await runToEnd(command);
    const made = findAccount(ownAccount);
    if (made !== undefined) return made;
  }
  throw new Fault("Postgres does not run as root, and no system account could be made for it", {
    advice: `make one with: useradd --system ${ownAccount}`,
  });
}

/** @param {string} name */
function findAccount(name) {
  for (const line of readFileSync("/etc/passwd", "utf8").split("\n")) {
    const [account, , uid, gid] = line.split(":");
    if (account === name) return { name, uid: Number(uid), gid: Number(gid) };
  }
  return undefined;
}
