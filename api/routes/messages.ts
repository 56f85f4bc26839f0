import { createHash } from "node:crypto";
import { z } from "zod";
import { markOpened } from "../../shared/db/memberships/members-due.ts";
import { findRoomAccess, type RoomAccess } from "../../shared/db/memberships/memberships.ts";
import {
  findMessage,
  findMessageByClientId,
  listOpenMessages,
  presentMessage,
  type Acceptance,
  type MessageRow,
  type NewMessage,
} from "../../shared/db/messages/messages.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import {
  findTimelineMessage,
  listTimelineMessages,
  readPosition,
  type PageEdge,
} from "../../shared/db/timeline/pages.ts";
import { CONTENT, identifyContent, type Content } from "../../shared/contract/content/index.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import { messageResource, type MessageResource } from "../../shared/contract/resources.ts";
import { isAllowed } from "../../shared/contract/permissions.ts";
import { presentTimelineMessage } from "../../shared/timeline/read.ts";
import type { Accept } from "../accept/accept-batcher.ts";
import type { UserCaller } from "../auth/authenticate.ts";
import { clientId, pageLimit, pathRoom, timelineNumber } from "../http/fields.ts";
import { overQuotaError, type WithinQuota } from "../rate-limit/message-quota.ts";
import { answerResource, userRoute, type Answer, type Route } from "../http/route.ts";

const PENDING_AT_MOST = 100;

/** The kind of content that a POST of a message makes. */
const POSTED = CONTENT.text;
const messageBody = POSTED.request.extend({ clientId: clientId.optional() }).meta({ id: "NewMessage" });
const pageQuery = z
  .strictObject({ limit: pageLimit, before: timelineNumber.optional(), after: timelineNumber.optional() })
  .refine(({ before, after }) => before === undefined || after === undefined, {
    path: ["after"],
    message: "cannot be given together with before",
  });
const messagePage = z
  .strictObject({
    items: z.array(messageResource).meta({ description: "Oldest first" }),
    epoch: z.string(),
    offset: z.int().meta({ description: "Number of the room's last entry, read before the items" }),
    pending: z.array(messageResource).meta({ description: "Accepted and not yet in the timeline" }),
    hasMore: z.boolean().meta({ description: "Whether more messages follow in the direction asked" }),
  })
  .meta({ id: "MessagePage" });

const tag = "messages";
const listPath = "/v1/rooms/{kind}/{slug}/messages";

type Deps = { db: Db; accept: Accept; withinQuota: WithinQuota };

export function messageRoutes(deps: Deps): Route[] {
  return [postRoute(deps), listRoute(deps), getRoute(deps)];
}

function postRoute(deps: Deps): Route {
  const { db } = deps;
  return userRoute(
    {
      method: "post",
      path: listPath,
      tag,
      summary: "Send a message",
      description:
        "Accepted messages reach the room in the order accepted, each exactly once. The same Idempotency-Key or clientId " +
        "with the same body answers the same message; with another body it is refused.",
      body: { schema: messageBody, example: { text: "See you at seven", clientId: "c-17" } },
      answers: {
        200: { schema: messageResource, description: "The message is sent, or will never be (dead)" },
        202: { schema: messageResource, description: "Accepted: it will be sent" },
      },
      problems: ["forbidden", "not_found", "invalid", "idempotency_key_reused", "unavailable"],
      headers: ["Idempotency-Key", "Prefer"],
    },
    async ({ caller, params, body, header, requestId, settle }) => {
      const room = pathRoom(params);
      const id = readClientId(header("idempotency-key"), body.clientId);
      const content = POSTED.toContent(body);
      const requestHash = id === null ? null : hashRequest(room, content);
      const { tenantId, user } = caller;
      const asked = { tenantId, user, room, content, clientId: id, requestHash, requestId };
      const acceptance = await acceptWithinQuota(deps, asked, caller.limits.queuedMessages);
      if (!("message" in acceptance)) throw describeRefusal(acceptance.outcome);
      const { outcome, message } = acceptance;
      if (outcome === "replayed" && message.request_hash !== requestHash) {
        throw new AppError("idempotency_key_reused", "The key was used for another message.");
      }
      const read = async () => (await findMessage(db, tenantId, message.room_id, message.id)) ?? message;
      const settled = await settle(message, read, isMessageFinal);
      const location = `/v1/rooms/${message.kind}/${encodeURIComponent(message.slug)}/messages/${message.id}`;
      const answer: Answer = {
        ...answerResource(presentMessage(settled), { isFinal: isMessageFinal(settled), location }),
        about: { room: message.room_id, message: message.id },
      };
      return outcome === "replayed"
        ? { ...answer, headers: { ...answer.headers, "Idempotency-Replayed": "true" } }
        : answer;
    },
  );
}

function listRoute({ db }: Deps): Route {
  return userRoute(
    {
      method: "get",
      path: listPath,
      tag,
      summary: "Read a page of messages",
      description: "The newest page by default. The epoch and the offset are where a socket recovers from.",
      query: pageQuery,
      answers: { 200: { schema: messagePage, description: "A page, oldest first" } },
      problems: ["forbidden", "not_found", "invalid"],
    },
    async ({ caller, params, query: { limit, before, after } }) => {
      const access = await requireRoomAccess(db, caller, pathRoom(params));
      const { tenantId } = caller;
      // The position first: a client that recovers from it can only hear an entry twice, never miss one.
      const position = await readPosition(db, tenantId, access.room_id);
      if (!position) throw new AppError("not_found", "There is no such room.");
      const edge: PageEdge = after !== undefined ? { after } : before !== undefined ? { before } : null;
      const rows = await listTimelineMessages(db, tenantId, access.room_id, { edge, limit: limit + 1 });
      const pending = await listOpenMessages(db, tenantId, access.room_id, PENDING_AT_MOST);
      if (access.opened_at === null && isAllowed(access.role, "post")) await markOpened(db, access);
      const items = after !== undefined ? rows.slice(0, limit) : rows.slice(-limit);
      const body: z.infer<typeof messagePage> = {
        items: items.map(presentTimelineMessage),
        epoch: position.epoch,
        offset: position.lastNumber,
        pending: pending.map(presentMessage),
        hasMore: rows.length > limit,
      };
      return { status: 200, body };
    },
  );
}

function getRoute({ db }: Deps): Route {
  return userRoute(
    {
      method: "get",
      path: `${listPath}/{id}`,
      tag,
      summary: "Read a message",
      answers: { 200: { schema: messageResource, description: "The message" } },
      problems: ["forbidden", "not_found"],
    },
    async ({ caller, params }) => {
      const id = z.uuid().safeParse(params["id"]).data;
      const access = await requireRoomAccess(db, caller, pathRoom(params));
      const message =
        id === undefined
          ? null
          : await readMessage(db, { tenantId: caller.tenantId, roomId: access.room_id, id });
      if (!message) throw new AppError("not_found", "There is no such message.");
      return { status: 200, body: message };
    },
  );
}

/** @throws AppError `unavailable` over the quota, unless the message was accepted before. */
async function acceptWithinQuota(
  { db, accept, withinQuota }: Deps,
  asked: NewMessage,
  limit: number,
): Promise<Acceptance> {
  const { tenantId, user, clientId: id } = asked;
  const acceptance = await withinQuota(tenantId, limit, () => accept(asked));
  if (acceptance) return acceptance;
  const message = id === null ? null : await findMessageByClientId(db, { tenantId, user, clientId: id });
  if (!message) throw overQuotaError();
  return { outcome: "replayed", message };
}

async function readMessage(
  db: Db,
  { tenantId, roomId, id }: { tenantId: string; roomId: string; id: string },
): Promise<MessageResource | null> {
  const own = await findMessage(db, tenantId, roomId, id);
  if (own) return presentMessage(own);
  const entry = await findTimelineMessage(db, tenantId, roomId, id);
  return entry ? presentTimelineMessage(entry) : null;
}

/** @throws AppError `not_found` when the caller is not in the room, `forbidden` for a locked user. */
async function requireRoomAccess(db: Db, caller: UserCaller, room: RoomAddress): Promise<RoomAccess> {
  const access = await findRoomAccess(db, caller.tenantId, room, caller.user);
  if (!access) throw new AppError("not_found", "There is no such room.");
  if (access.user_status === "locked") throw new AppError("forbidden", "The user is locked.");
  return access;
}

function describeRefusal(outcome: "no_such_room" | "may_not_post"): AppError {
  return outcome === "may_not_post"
    ? new AppError("forbidden", "You may not write in this room.")
    : new AppError("not_found", "There is no such room.");
}

function readClientId(header: string | undefined, field: string | undefined): string | null {
  if (header === undefined) return field ?? null;
  if (!clientId.safeParse(header).success) throw keyError("must be 1 to 128 visible ASCII characters");
  if (field !== undefined && field !== header) throw keyError("differs from the body's clientId");
  return header;
}

function keyError(message: string): AppError {
  return new AppError("invalid", "The request is not valid.", {
    errors: [{ path: "Idempotency-Key", message }],
  });
}

function hashRequest(room: RoomAddress, content: Content): string {
  return createHash("sha256")
    .update(`${formatRoomKey(room)}\n${identifyContent(content)}`, "utf8")
    .digest("hex");
}

function isMessageFinal({ status }: MessageRow): boolean {
  return status === "sent" || status === "dead";
}
