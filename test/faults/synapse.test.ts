import { afterAll, expect, test } from "@jest/globals";
import { copyFileSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { TierProcess } from "./environment/processes.ts";
import { startThrowAwayServers } from "../../stack/servers/throw-away.mjs";
import { useEnvironment } from "./environment/use-environment.ts";
import { until } from "../support/wait.ts";

let synapse: Awaited<ReturnType<typeof startThrowAwayServers>>;
const faults = useEnvironment({
  real: async () => {
    synapse = await startThrowAwayServers({ only: ["synapse"], durable: true });
    return { url: synapse.synapseUrl, serverName: synapse.synapseServerName, asToken: synapse.asToken ?? "" };
  },
});
afterAll(() => synapse.stop());

type MatrixEvent = { content: { body?: string } };

/** Texts of a room on the real homeserver, oldest first. */
async function readTexts(slug: string): Promise<(string | undefined)[]> {
  const [row] = await faults.environment.sql<{ matrix_room_id: string; matrix_user_id: string }>(
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

test("a message is on Matrix once when its worker dies after Synapse accepted it and Synapse restarts before the retry", async () => {
  const load = await faults.openLoad({ name: "restarted", rooms: 1, people: 2 });
  const [room = ""] = load.rooms;
  const [person = ""] = load.people;
  await load.post(room, person, "first");
  await faults.expectKept(load, 30_000);
  const [worker] = faults.environment.of("workers") as [TierProcess];
  const [reader] = faults.environment.of("sync") as [TierProcess];
  // A reader of the event would settle the message too, so no process reads before the retry.
  await reader.stop();
  await worker.stop();
  worker.isSupervised = false;
  await worker.start({ KILL_POINT: "between homeserver answer and mark" });
  await load.post(room, person, "second");
  await until(() => worker.ends.at(-1)?.signal === "SIGKILL", "the worker died", 20_000);
  await synapse.restart("synapse");
  await worker.start();
  const isSent = async () =>
    (await faults.environment.sql("select 1 from messages where status = 'sent' and open")).length === 1;
  await until(isSent, "it was sent again", 30_000);
  await reader.start();
  await faults.expectKept(load, 30_000);
  expect(await readTexts("restarted-r0")).toEqual(["first", "second"]);
}, 150_000);

/** Stops Synapse, does something with the files of its database, and starts it again. */
async function withDatabase(work: (folder: string, files: string[]) => void): Promise<void> {
  const service = synapse.services["synapse"];
  const folder = readlinkSync(`/proc/${String(service?.pid)}/cwd`);
  await service?.stop();
  work(
    folder,
    readdirSync(folder).filter((name) => name.startsWith("homeserver.db")),
  );
  await service?.start();
}

async function call(credential: string, method: string, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(`${faults.environment.apiUrl}/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${credential}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  expect(response.ok).toBe(true);
  return response.json();
}

/** A new member of a room, who posts a message. */
async function comeAndSay(room: string, user: string, text: string): Promise<void> {
  const { serverKey } = faults.environment.tenant;
  const path = `/rooms/${room.replace(":", "/")}`;
  await call(serverKey, "PUT", `${path}/members/${user}`, { role: "moderator" });
  const { token } = (await call(serverKey, "POST", `/users/${user}/tokens`, {})) as { token: string };
  await call(token, "POST", `${path}/messages`, { text });
}

test("a Synapse restored from a backup gets the messages that it lost again, seen ones too, and their senders", async () => {
  const load = await faults.openLoad({ name: "restored", rooms: 1, people: 2 });
  const [room = ""] = load.rooms;
  const [early = "", late = ""] = load.people;
  await load.post(room, early, "kept");
  await faults.expectKept(load, 30_000);
  await withDatabase((folder, files) => {
    for (const file of files) copyFileSync(join(folder, file), join(folder, `backup-${file}`));
  });
  for (let said = 0; said < 5; said++) await load.post(room, early, `seen ${said}`);
  await faults.expectKept(load, 60_000);
  const [reader] = faults.environment.of("sync") as [TierProcess];
  await reader.stop();
  // The backup lacks the message, the account, its join and its power level.
  await comeAndSay(room, "newcomer", "unseen 1");
  await load.post(room, late, "unseen 2");
  await load.post(room, early, "unseen 3");
  const areSent = async () =>
    (await faults.environment.sql("select 1 from messages where status = 'sent' and open")).length === 3;
  await until(areSent, "they are on Matrix", 30_000);

  await withDatabase((folder, files) => {
    for (const file of files) rmSync(join(folder, file));
    for (const file of readdirSync(folder))
      if (file.startsWith("backup-")) copyFileSync(join(folder, file), join(folder, file.slice(7)));
  });
  await reader.start();
  const areSettled = async () =>
    (await faults.environment.sql("select 1 from messages where open")).length === 0;
  await until(areSettled, "all messages are settled", 60_000);
  await faults.expectKept(load, 30_000);
  expect(await readTexts("restored-r0")).toEqual([
    "kept",
    ...[0, 1, 2, 3, 4].map((said) => `seen ${said}`),
    ...[1, 2, 3].map((said) => `unseen ${said}`),
  ]);
}, 180_000);
