import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { markObserverBack } from "../../shared/db/observers/observed-rooms.ts";
import { findNewestObserver, markObserverRegistered } from "../../shared/db/observers/observers.ts";
import { insertAdoptedRoom } from "../../shared/db/rooms/matrix/adoption.ts";
import type { DesiredRoom } from "../../shared/db/rooms/many/desired-room.ts";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import type { Config } from "../../shared/platform/config.ts";
import { requireTenant } from "./tenants.ts";

export type AdoptOptions = {
  tenant: string;
  since?: Date;
  name?: string;
  visibility: DesiredRoom["visibility"];
};

const MAX_NAME_LENGTH = 256;
const MAX_TOPIC_LENGTH = 1_024;

/**
 * Makes a Matrix room a room of a tenant. The workers read its history in the background, and the room takes messages when that
 * is done: `room show` says how far it is. May be repeated after a failure. The result has Matrix ids; the command is audited.
 * @throws AppError `conflict` when the room cannot be adopted, with what to do
 */
export async function adoptRoom(
  db: Db,
  config: Config,
  input: AdoptOptions & { address: RoomAddress; matrixRoomId: string },
) {
  const { address, matrixRoomId, since = null, visibility } = input;
  const tenant = await requireTenant(db, input.tenant);
  const key = formatRoomKey(address);
  if (address.kind === "direct") throw new AppError("invalid", "A direct room cannot be adopted.");
  if (!/^![^\s]+$/.test(matrixRoomId))
    throw new AppError("invalid", "A Matrix room's id begins with an exclamation mark: !abc:example.org.");
  const detail = { matrixRoomId, since: since?.toISOString() ?? null };
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "room.adopt", subject: key, detail });
  // Only some commands need the Matrix client, which is slow to load.
  const { openHomeserver } = await import("../matrix/homeserver/open-homeserver.ts");
  const { fetchPosition } = await import("../matrix/sync/fetch-changes.ts");
  const { inspectMatrixRoom, whyNotAdoptable } = await import("../reconcile/inspect-matrix-room.ts");
  const homeserver = await openHomeserver(db, config.sealKeys, tenant.homeserver_id);
  const { id: observerId, matrix_user_id: observer } = await findNewestObserver(db, tenant.id);
  await homeserver.ensureAccount(observer);
  await markObserverRegistered(db, observerId);
  const request = await homeserver.as(observer);
  const found = await inspectMatrixRoom(request, { matrixRoomId, observer });
  const refusal = whyNotAdoptable(found, observer);
  if (refusal !== null) throw new AppError("conflict", refusal);
  const desired: DesiredRoom = {
    ...{ avatar: null, visibility, join: "invite", posting: "everyone", slowModeS: 0 },
    name: cut(input.name ?? found.name ?? address.slug, MAX_NAME_LENGTH),
    topic: found.topic === null ? null : cut(found.topic, MAX_TOPIC_LENGTH),
  };
  const people = found.people.filter((id) => id !== observer);
  const adoption = { matrixRoomId, since, people };
  const room = await insertAdoptedRoom(db, tenant.id, address, { desired, adoption });
  // After the commit: what the observer read before it, and did not know the room of, is read as history.
  await markObserverBack(db, room.id, { to: await fetchPosition(request) });
  return {
    ...{ room: key, matrixRoomId, name: desired.name, visibility, people: people.length },
    ...{ since: detail.since, state: "reading" },
    // What the tenant decides cannot be taken from them: they may change it on Matrix, and it is put back.
    asPowerfulAsTheBot: found.obstacle?.others ?? [],
  };
}

/** At most so many characters, none of them cut in two; without what Postgres refuses. */
function cut(text: string, length: number): string {
  return Array.from(text.replaceAll("\0", "").toWellFormed()).slice(0, length).join("");
}
