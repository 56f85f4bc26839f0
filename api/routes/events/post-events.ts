import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import { formatRoomKey } from "../../../shared/contract/names.ts";
import type { AfterCommit } from "../../after-commit/after-commit.ts";
import { applyEvents } from "../../events/apply-events.ts";
import { addressesOf } from "../../events/fold.ts";
import { BATCH, BINARY, invalidEvents, readEvents, STRUCTURED } from "../../events/read-events.ts";
import { serverRoute, type Route } from "../../http/route.ts";

const MAX_BYTES = 1_048_576;
const MAX_ROOMS = 200;

const receipt = z
  .strictObject({
    accepted: z.int().meta({ description: "Events that are applied" }),
    duplicates: z
      .int()
      .meta({ description: "Events that came before, by source and id: they have no effect" }),
  })
  .meta({ id: "EventsReceipt" });

export function postEventsRoute({ db, afterCommit }: { db: Db; afterCommit: AfterCommit }): Route {
  return serverRoute(
    {
      method: "post",
      path: "/v1/events",
      tag: "events",
      summary: "Tell what happened in the product",
      description:
        "CloudEvents 1.0 over HTTP, in each of its three forms: binary (attributes in the headers ce-specversion, ce-type, " +
        "ce-source, ce-id; the body is the data), structured, and a batch of at most 500 events that name at most 200 rooms. The " +
        "types and their data are at /docs/events.json. Either all events have the right shape, or none is taken: 422 names the " +
        "place of each fault, such as [3].data.user, and lists the known types for an unknown one. Events are applied in their " +
        "order, as one change: all or none. What they need is made, what they are about and does not exist is ignored. An event " +
        "with the source and id of one of the last seven days is a duplicate, so a call can be repeated. 503 when others change " +
        "the same rooms for two seconds, or too many users or rooms of the tenant are pending. The body has at most 1 MiB.",
      body: {
        schema: z.unknown(),
        types: [STRUCTURED, BATCH, BINARY],
        maxBytes: MAX_BYTES,
        example: {
          specversion: "1.0",
          id: "17",
          source: "https://product.example.org",
          type: "chat.event.created",
          data: { event: "py-meetup", name: "Py meetup", host: "ada" },
        },
      },
      answers: { 202: { schema: receipt, description: "Accepted; Matrix follows" } },
      problems: ["invalid", "unavailable"],
    },
    async ({ caller: { tenantId, limits }, body, header }) => {
      const events = readEvents({ body, header });
      const rooms = new Set(events.flatMap(addressesOf).map(formatRoomKey));
      if (rooms.size > MAX_ROOMS)
        throw invalidEvents([{ path: "", message: `names more than ${MAX_ROOMS} rooms` }]);
      const { sideEffects, ...counts } = await applyEvents(db, tenantId, events, limits);
      afterCommit.perform(sideEffects);
      return { status: 202, body: counts };
    },
  );
}
