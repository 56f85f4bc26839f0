import { AppError } from "../../../../shared/contract/errors.ts";
import { isAllowed } from "../../../../shared/contract/permissions.ts";
import { roomAddress, type RoomAddress } from "../../../../shared/contract/names.ts";
import type { Db } from "../../../../shared/db/connection/open.ts";
import { findRoomCaller } from "../../../../shared/db/memberships/memberships.ts";
import { findFormerRooms } from "../../../../shared/db/rooms/names/rename-rooms.ts";
import { findRoom } from "../../../../shared/db/rooms/rooms.ts";
import type { Caller } from "../../../auth/authenticate.ts";
import type { Route } from "../../../http/route.ts";
import { requireHolder } from "../../../auth/require-holder.ts";

/**
 * A room's route that answers 308 with the room's present address where it would answer 404, at a former slug, to those who may
 * read the room. A room that exists costs nothing more; a room that does not, one statement.
 */
export function withFormerSlugs(db: Db, route: Route): Route {
  const { path } = route.shape;
  if (!path.includes("/{kind}/{slug}")) return route;
  return {
    ...route,
    handle: async (call) => {
      try {
        return await route.handle(call);
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== "not_found") throw error;
        const slug = await findPresentSlug(db, call.caller, call.params);
        if (slug === null) throw error;
        const params: Readonly<Record<string, string>> = { ...call.params, slug };
        return {
          status: 308,
          body: undefined,
          headers: { Location: `${fillPath(path, params)}${call.search}` },
        };
      }
    },
  };
}

function fillPath(path: string, params: Readonly<Record<string, string>>): string {
  return path.replace(/\{(\w+)\}/g, (_all, name: string) => encodeURIComponent(params[name] ?? ""));
}

/** The present slug of the room that had the address; null where there is none that the caller may read. */
async function findPresentSlug(db: Db, caller: Caller, params: unknown): Promise<string | null> {
  const address = roomAddress.safeParse(params).data;
  if (!address) return null;
  const [former] = await findFormerRooms(db, caller.tenantId, [address]);
  if (!former) return null;
  const present = { kind: former.kind, slug: former.present_slug };
  return caller.kind !== "user" || (await mayRead(db, caller, present)) ? present.slug : null;
}

async function mayRead(
  db: Db,
  caller: Extract<Caller, { kind: "user" }>,
  address: RoomAddress,
): Promise<boolean> {
  const { access } = requireHolder(await findRoomCaller(db, caller.tenantId, address, caller.user), caller);
  if (access) return isAllowed(access.standing, "read");
  return (await findRoom(db, caller.tenantId, address))?.visibility === "public";
}
