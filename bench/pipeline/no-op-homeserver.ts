import type { Homeserver } from "../../workers/matrix/homeserver/homeserver.ts";

/** A homeserver that takes everything at once and keeps nothing: what is measured with it is our own work. */
export function createNoOpHomeserver(): Homeserver {
  let events = 0;
  return {
    id: "no-op",
    serverName: "no-op",
    baseUrl: "",
    as: () => Promise.resolve(() => Promise.resolve({ event_id: `$no-op-${String(++events)}` })),
    ensureAccount: () => Promise.resolve(),
    removeAccount: () => Promise.resolve(),
    login: () => Promise.reject(new Error("nobody logs in here")),
  };
}
