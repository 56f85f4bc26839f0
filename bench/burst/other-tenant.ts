import { z } from "zod";
import { createTenantWithKey } from "../attacks/tenants.ts";
import { createRest } from "../rest.ts";
import type { DemoStack } from "../stack.ts";
import { pause } from "../wait.ts";
import { nowMs } from "./clock.ts";
import { callOk, type Http } from "./http.ts";

const EVERY_MS = 2_000;
/** One long poll. */
const WAIT_S = 30;
const LIMIT_MS = 600_000;

const message = z.object({ status: z.string() });

/** A person of another tenant, in a room of their own. */
export type OtherTenant = {
  /** Posts a message every two seconds until `isOver`. Returns how many milliseconds each took to be on Matrix. */
  post: (isOver: () => boolean) => Promise<number[]>;
};

/** Makes the tenant; resolves when its first message is on Matrix. */
export async function openOtherTenant(stack: DemoStack, http: Http): Promise<OtherTenant> {
  const run = Date.now().toString(36);
  const path = `/v1/rooms/group/beside-${run}`;
  const server = createRest(stack.apiUrl, await createTenantWithKey("burst-other", []));
  await server.putRoom(path, { name: "Beside", members: [{ user: "ada", role: "member" }] });
  const token = await server.token("ada");
  // A repeated post answers with the message as it is now.
  const send = async (clientId: string) => {
    const startedAtMs = nowMs();
    for (;;) {
      const answer = await callOk(http, {
        method: "POST",
        path: `${path}/messages`,
        credential: token,
        body: { text: "Hello", clientId },
        headers: { prefer: `wait=${String(WAIT_S)}` },
      });
      if (message.parse(answer).status === "sent") return nowMs() - startedAtMs;
      if (nowMs() - startedAtMs > LIMIT_MS) throw new Error("the other tenant's message is not on Matrix");
    }
  };
  await send(`${run}-first`);
  return {
    post: async (isOver) => {
      const running: Promise<number>[] = [];
      for (let index = 0; !isOver(); index++) {
        running.push(send(`${run}-${String(index)}`));
        await pause(EVERY_MS);
      }
      return Promise.all(running);
    },
  };
}
