/** The members with a role above member that a room may have at most, however short the homeserver's name is. */
const MOST = 1_000;

/** An event of Matrix may have this many bytes, all its fields included. */
const EVENT_BYTES = 65_536;
/** `"@omc_` and 20 characters, `:`, the homeserver's name, `":25,`: what one member adds to the power-level map. */
const MEMBER_BYTES = 32;
/**
 * What the event holds beside the members: the map's own levels (about 700 bytes), references to at most 20 other events
 * (50 bytes each), a hash and a signature, and a margin.
 */
const OTHER_BYTES = 2_400;
/** Places where the homeserver's name stands beside the members: the observer, the sender, the room's id, the signature. */
const OTHER_NAMES = 4;

/**
 * How many members of a room may have a role above member. One event of Matrix names them all with the homeserver's name,
 * and a homeserver refuses an event of more than 64 KiB.
 */
export function maxRoles(serverName: string): number {
  // A server name is ASCII.
  const nameBytes = serverName.length;
  const forMembers = EVENT_BYTES - OTHER_BYTES - OTHER_NAMES * nameBytes;
  return Math.min(MOST, Math.floor(forMembers / (MEMBER_BYTES + nameBytes)));
}
