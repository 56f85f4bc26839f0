import { newId } from "../../shared/platform/ids.ts";
import type { Homeserver } from "../../workers/matrix/homeserver/homeserver.ts";

/** A homeserver that accepts everything at once and keeps nothing, so that only our own work is measured. */
export function createNoOpHomeserver(): Homeserver {
  return {
    id: "no-op",
    serverName: "no-op",
    baseUrl: "",
    keepsTime: true,
    // Each response is also an event, for those who read one.
    as: (sender) =>
      Promise.resolve(() =>
        Promise.resolve({ event_id: `$${newId()}`, sender, content: { room_version: "11" } }),
      ),
    ensureAccount: () => Promise.resolve(),
    removeAccount: () => Promise.resolve(),
    isDeactivated: () => Promise.resolve(false),
    login: () => Promise.reject(new Error("this homeserver has no login")),
  };
}
