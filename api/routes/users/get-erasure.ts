import { z } from "zod";
import { AppError } from "../../../shared/contract/errors.ts";
import { time } from "../../../shared/contract/resources/time.ts";
import { findErasure } from "../../../shared/db/users/erasures.ts";
import { pathUser } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { path, tag, type UserDeps } from "./user.ts";

const progress = z.object({ count: z.int(), done: z.int() });

const erasureResource = z
  .object({
    user: z.string(),
    state: z.enum(["running", "done"]),
    entries: progress.meta({
      description: "Entries of the rooms that the user was in, to be looked through",
    }),
    messages: z.int().meta({ description: "Messages that were emptied so far" }),
    events: progress.meta({ description: "What is to be removed on the chat server; grows with `entries`" }),
    startedAt: time,
    finishedAt: time.nullable(),
  })
  .meta({ id: "Erasure" });

export function getErasureRoute({ db }: Pick<UserDeps, "db">): Route {
  return serverRoute(
    {
      ...{ method: "get", path: `${path}/erasure`, tag, summary: "Read how far an erasure is" },
      description:
        "Of the user of this name who was deleted last: how much of what this person wrote is emptied, here and on the chat " +
        "server. 404 when nothing of a deleted user of this name was to be erased.",
      answers: { 200: { schema: erasureResource, description: "The erasure" } },
      problems: ["not_found"],
    },
    async ({ caller: { tenantId }, params }) => {
      const user = pathUser(params);
      const row = await findErasure(db, tenantId, user);
      if (!row) throw new AppError("not_found", "There is no erasure of a user of this name.");
      const body: z.infer<typeof erasureResource> = {
        user,
        state: row.finished_at === null ? "running" : "done",
        entries: { count: row.entries, done: row.entries_done },
        messages: row.messages,
        events: { count: row.events, done: row.events_done },
        startedAt: row.started_at.toISOString(),
        finishedAt: row.finished_at?.toISOString() ?? null,
      };
      return { status: 200, body };
    },
  );
}
