import { beforeEach, describe, expect, test } from "@jest/globals";
import { createLog } from "../../shared/platform/log.ts";
import { createMetrics } from "../../shared/platform/metrics.ts";
import type { MatrixCall } from "../../workers/matrix/http/client.ts";
import { MatrixFailure } from "../../workers/matrix/http/failure.ts";
import { createWorkerMetrics } from "../../workers/runtime/metrics.ts";
import { readChanges } from "../../workers/inbound/observers/read-changes.ts";

const OBSERVER = "@omc_bot:hs.test";
const SINCE = "s10_0_1";
const log = createLog({ level: "silent", tier: "test" });

type Answers = { "/events"?: unknown; "/sync"?: unknown };

describe("an observer reads", () => {
  let calls: { path: string; query: MatrixCall["query"] | undefined }[];
  let run: Parameters<typeof readChanges>[1];

  beforeEach(() => {
    calls = [];
    run = {
      observer: {
        observer_id: "1",
        tenant_id: "2",
        homeserver_id: "3",
        matrix_user_id: OBSERVER,
        since: SINCE,
      },
      signal: new AbortController().signal,
      reading: { fromStream: true, isConfirmed: true, roomsComparedAtMs: null },
    };
  });

  const read = (answers: Answers, failures = 0) =>
    readChanges(
      { log, metrics: createWorkerMetrics(createMetrics()) },
      run,
      ({ path, query }) => {
        calls.push({ path, query });
        const answer = answers[path as keyof Answers];
        return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
      },
      { since: SINCE, failures },
    );
  const paths = () => calls.map(({ path }) => path);

  let made = 0;
  const event = (room: string, given: Record<string, unknown> = {}) => ({
    event_id: `$${String(++made)}`,
    room_id: room,
    type: "m.room.message",
    sender: "@ann:hs.test",
    origin_server_ts: 1,
    content: { body: "hello" },
    ...given,
  });
  const syncAnswer = { next_batch: "s30_0_1", rooms: { join: {}, leave: {} } };

  test("the event stream, by room and in order, without types that it does not use", async () => {
    const [first, second, other] = [event("!a"), event("!a"), event("!b")];
    const typing = { type: "m.typing", room_id: "!a", content: { user_ids: ["@ann:hs.test"] } };
    const call = event("!c", { type: "m.call.invite" });
    const answer = await read({
      "/events": { chunk: [first, typing, other, call, second], start: SINCE, end: "s20_0_1" },
    });
    expect(answer.next_batch).toBe("s20_0_1");
    const byRoom = Object.entries(answer.rooms?.join ?? {}).map(([room, { timeline }]) => [
      room,
      timeline?.limited,
      timeline?.events.map(({ event_id }) => event_id),
    ]);
    expect(byRoom).toEqual([
      ["!a", false, [first.event_id, second.event_id]],
      ["!b", false, [other.event_id]],
    ]);
    expect(answer.signs).toEqual([{ matrixRoomId: "!a", typing: ["@ann:hs.test"], receipts: [] }]);
    expect(calls).toEqual([{ path: "/events", query: { from: SINCE, limit: "100", timeout: "30000" } }]);
  });

  const own = (membership: string) =>
    event("!a", { type: "m.room.member", state_key: OBSERVER, content: { membership } });
  test.each<[string, unknown[], string]>([
    ["it joined a room", [event("!b"), own("join")], "s20_0_1"],
    ["it was removed from a room", [own("leave")], "s20_0_1"],
    ["there may be more", Array.from({ length: 100 }, () => event("!a")), "s20_0_1"],
    ["the stream goes back in time", [], "s9_0_1"],
  ])("/sync from the same position when %s", async (_, chunk, end) => {
    const answer = await read({ "/events": { chunk, start: SINCE, end }, "/sync": syncAnswer });
    expect(answer).toMatchObject({ next_batch: "s30_0_1" });
    expect(paths()).toEqual(["/events", "/sync"]);
    expect(calls[1]?.query).toMatchObject({ since: SINCE, timeout: "30000" });
  });

  test("the event stream when another user joins", async () => {
    const joined = event("!a", {
      type: "m.room.member",
      state_key: "@bob:hs.test",
      content: { membership: "join" },
    });
    await read({ "/events": { chunk: [joined], start: SINCE, end: "s20_0_1" } });
    expect(paths()).toEqual(["/events"]);
  });

  test("/sync, without waiting, after a failure", async () => {
    await read({ "/sync": syncAnswer }, 2);
    expect(calls).toMatchObject([{ path: "/sync", query: { since: SINCE, timeout: "2" } }]);
  });

  test("/sync from now on when the homeserver has no event stream", async () => {
    const answers = {
      "/events": new MatrixFailure("missing", { errcode: "M_UNRECOGNIZED", httpStatus: 404 }),
      "/sync": syncAnswer,
    };
    await read(answers);
    await read(answers);
    expect(paths()).toEqual(["/events", "/sync", "/sync"]);
  });

  test("/sync from now on when several processes of the homeserver write events", async () => {
    const answers = {
      "/events": { chunk: [event("!a")], start: SINCE, end: "m19~2.21_0_1" },
      "/sync": syncAnswer,
    };
    expect((await read(answers)).next_batch).toBe("s30_0_1");
    await read(answers);
    expect(paths()).toEqual(["/events", "/sync", "/sync"]);
  });

  test("/sync first, without waiting, after a start: a restored homeserver may not have the position", async () => {
    run.reading.isConfirmed = false;
    await read({ "/sync": syncAnswer });
    expect(calls).toMatchObject([{ path: "/sync", query: { since: SINCE, timeout: "0" } }]);
    await read({ "/events": { chunk: [], start: SINCE, end: "s20_0_1" } });
    expect(paths()).toEqual(["/sync", "/events"]);
  });

  test("/sync alone when the event stream is not allowed", async () => {
    run.reading.fromStream = false;
    await read({ "/sync": syncAnswer });
    expect(paths()).toEqual(["/sync"]);
  });

  test("nothing when the stream fails: the loop repeats the call", async () => {
    const failure = new MatrixFailure("transient", { errcode: "M_UNKNOWN", httpStatus: 500 });
    await expect(read({ "/events": failure })).rejects.toBe(failure);
  });

  test("the event stream again after a proxy returned 404 for an absent homeserver", async () => {
    const failure = new MatrixFailure("transient", { errcode: "no Matrix answer", httpStatus: 404 });
    await expect(read({ "/events": failure, "/sync": failure })).rejects.toBe(failure);
    await read({ "/events": { chunk: [], start: SINCE, end: "s20_0_1" } });
    expect(paths()).toEqual(["/events", "/sync", "/events"]);
  });
});
