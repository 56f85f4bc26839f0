import { afterAll, expect, test } from "@jest/globals";
import type { TierProcess } from "../../bench/faults/processes.ts";
import { startThrowAwayServers } from "../../stack/throw-away.mjs";
import { useHouse } from "../support/faults.ts";
import { until } from "../support/wait.ts";

let synapse: Awaited<ReturnType<typeof startThrowAwayServers>>;
const faults = useHouse({
  real: async () => {
    synapse = await startThrowAwayServers({ only: ["synapse"], durable: true });
    return { url: synapse.synapseUrl, serverName: synapse.synapseServerName, asToken: synapse.asToken ?? "" };
  },
});
afterAll(() => synapse.stop());

type MatrixEvent = { content: { body?: string } };

/** Texts of a room on the real homeserver, oldest first. */
async function readTexts(slug: string): Promise<(string | undefined)[]> {
  const [row] = await faults.house.sql<{ matrix_room_id: string; matrix_user_id: string }>(
    "select r.matrix_room_id, o.matrix_user_id from rooms r join observers o on o.id = r.observer_id where r.slug = ?",
    [slug],
  );
  const url = new URL(
    `${synapse.synapseUrl}/_matrix/client/v3/rooms/${encodeURIComponent(row?.matrix_room_id ?? "")}/messages`,
  );
  url.search = new URLSearchParams({
    dir: "f",
    limit: "100",
    filter: '{"types":["m.room.message"]}',
    user_id: row?.matrix_user_id ?? "",
  }).toString();
  const response = await fetch(url, { headers: { authorization: `Bearer ${synapse.asToken ?? ""}` } });
  return ((await response.json()) as { chunk: MatrixEvent[] }).chunk.map(({ content }) => content.body);
}

test("a message whose worker dies after Synapse took it, and Synapse is restarted before it is sent again, is there once", async () => {
  const crowd = await faults.gather({ name: "restarted", rooms: 1, people: 2 });
  const [room = ""] = crowd.rooms;
  const [person = ""] = crowd.people;
  await crowd.say(room, person, "first");
  await faults.expectKept(crowd, 30_000);
  const [worker] = faults.house.of("workers") as [TierProcess];
  const [reader] = faults.house.of("sync") as [TierProcess];
  // Whoever reads the event from Matrix settles the message too: nobody reads until it was sent again.
  await reader.stop();
  await worker.stop();
  worker.isSupervised = false;
  await worker.start({ KILL_POINT: "between homeserver answer and mark" });
  await crowd.say(room, person, "second");
  await until(() => worker.ends.at(-1)?.signal === "SIGKILL", "the worker died", 20_000);
  await synapse.restart("synapse");
  await worker.start();
  const isSent = async () =>
    (await faults.house.sql("select 1 from messages where status = 'sent' and open")).length === 1;
  await until(isSent, "it was sent again", 30_000);
  await reader.start();
  await faults.expectKept(crowd, 30_000);
  expect(await readTexts("restarted-r0")).toEqual(["first", "second"]);
}, 150_000);
