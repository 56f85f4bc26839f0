import { z } from "zod";
import { boundedText } from "../../../shared/contract/bounded-text.ts";
import { banResource } from "../../../shared/contract/resources.ts";
import type { Caller } from "../../auth/authenticate.ts";
import { pathRoom, pathUser } from "../../http/fields.ts";
import {
  answerResource,
  serverRoute,
  userRoute,
  type Answer,
  type Call,
  type Route,
} from "../../http/route.ts";
import { changerOf } from "../../mutations/rights/actor.ts";
import { banPerson, unbanPerson, type BanChange } from "../../mutations/rights/ban.ts";
import { roomMutexKey } from "../../mutations/room-mutex-key.ts";
import type { MemberDeps } from "../members/member.ts";
import { path, readBan, RIGHT, tag } from "./ban.ts";
import { readBansRoutes } from "./read-bans.ts";

const banBody = z
  .strictObject({ reason: boundedText(500).nullish().meta({ description: "Shown on the chat server too" }) })
  .meta({ id: "BanRequest" });
type BanCall = Call<Caller, z.output<typeof banBody> | undefined, undefined>;

const putShape = {
  ...({ method: "put", path, tag } as const),
  summary: "Ban a person from a room",
  body: { schema: banBody.optional(), isOptional: true, example: { reason: "Spam" } },
  answers: {
    200: { schema: banResource, description: "The person is banned, on the chat server too" },
    202: { schema: banResource, description: "The person is banned; the chat server follows" },
  },
  headers: ["Prefer"],
};
const PUT =
  "A member is removed, with the member's queued messages in the room. A banned person neither joins nor is added by people; the " +
  "backend ends a ban by adding the person. 409 in a direct room.";

const deleteShape = {
  ...({ method: "delete", path, tag } as const),
  summary: "End a ban",
  answers: { 204: { description: "The person is not banned; the chat server follows" } },
};

/** Calls about the bans of a room, for a product's backend and for people. */
export function banRoutes(deps: MemberDeps): Route[] {
  const put = (call: BanCall) => ban(deps, call);
  const end = (call: Call<Caller, undefined, undefined>) => unban(deps, call);
  return [
    serverRoute({ ...putShape, description: PUT, problems: ["not_found", "conflict", "invalid"] }, put),
    userRoute(
      {
        ...putShape,
        description: `${PUT} ${RIGHT} Only of people whose role is below one's own.`,
        problems: ["forbidden", "not_found", "conflict", "invalid"],
      },
      put,
    ),
    serverRoute({ ...deleteShape, problems: ["not_found"] }, end),
    userRoute({ ...deleteShape, description: RIGHT, problems: ["forbidden", "not_found"] }, end),
    ...readBansRoutes(deps),
  ];
}

async function ban(deps: MemberDeps, { caller, params, body, settle }: BanCall): Promise<Answer> {
  const { tenantId } = caller;
  const reason = body?.reason ?? null;
  const { address, user, roomId } = await change(deps, { caller, params }, (target) =>
    banPerson(deps.db, target, { changer: changerOf(caller), reason }),
  );
  const read = () => readBan(deps.db, { tenantId, roomId, user });
  const resource = await settle(await read(), read, ({ status }) => status === "ready");
  const location = `/v1/rooms/${address.kind}/${encodeURIComponent(address.slug)}/bans/${encodeURIComponent(user)}`;
  return answerResource(resource, { isFinal: resource.status === "ready", location });
}

async function unban(
  deps: MemberDeps,
  { caller, params }: Call<Caller, undefined, undefined>,
): Promise<Answer> {
  await change(deps, { caller, params }, (target) =>
    unbanPerson(deps.db, target, { changer: changerOf(caller) }),
  );
  return { status: 204, body: undefined };
}

async function change(
  { afterCommit, mutex }: MemberDeps,
  { caller: { tenantId }, params }: Pick<BanCall, "caller" | "params">,
  work: (target: Parameters<typeof banPerson>[1]) => Promise<BanChange>,
) {
  const address = pathRoom(params);
  const user = pathUser(params);
  const { roomId, sideEffects } = await mutex(roomMutexKey(tenantId, address), () =>
    work({ tenantId, address, user }),
  );
  afterCommit.perform(sideEffects);
  return { address, user, roomId };
}
