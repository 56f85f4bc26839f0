import { expect, test } from "@jest/globals";
import { createBreaker } from "../../workers/matrix/homeserver/breaker.ts";
import { guardOf } from "../../workers/matrix/homeserver/pool.ts";
import { MatrixFailure } from "../../workers/matrix/http/failure.ts";

test.each([
  ["/sync", true],
  ["/events", true],
  ["/rooms/x/joined_members", false],
])("while the breaker is open, a call of %s is made: %s", async (path, isAsked) => {
  const asked: string[] = [];
  const breaker = createBreaker({ open: () => undefined, close: () => undefined });
  const request = guardOf((call) => {
    asked.push(call.path);
    return Promise.reject(new MatrixFailure("transient", { errcode: "no connection", httpStatus: null }));
  }, breaker);
  const call = (to: string) => request({ method: "GET", path: to }).catch(() => undefined);
  for (let time = 0; time < 5; time++) await call("/createRoom");
  expect(breaker.openSinceMs()).not.toBeNull();
  asked.length = 0;
  await call(path);
  expect(asked).toEqual(isAsked ? [path] : []);
});

test.each([
  [null, true],
  [502, true],
  [404, false],
])("five failures in a row with status %s open the breaker: %s", async (httpStatus, opens) => {
  const breaker = createBreaker({ open: () => undefined, close: () => undefined });
  const request = breaker.guard(() =>
    Promise.reject(new MatrixFailure("transient", { errcode: "no Matrix answer", httpStatus })),
  );
  for (let time = 0; time < 5; time++) await request({ method: "GET", path: "/x" }).catch(() => undefined);
  expect(breaker.openSinceMs() !== null).toBe(opens);
});

const NO_ANSWER = new MatrixFailure("transient", { errcode: "no answer in time", httpStatus: null });

test("joins that are not answered do not open the breaker, and are refused while it is open", async () => {
  const breaker = createBreaker({ open: () => undefined, close: () => undefined });
  const asked: string[] = [];
  const request = breaker.guard(({ path }) => {
    asked.push(path);
    return Promise.reject(NO_ANSWER);
  });
  const join = () => request({ method: "POST", path: "/rooms/x/join" }).catch(() => undefined);
  for (let time = 0; time < 10; time++) await join();
  expect([asked.length, breaker.openSinceMs()]).toEqual([10, null]);
  breaker.hold();
  await join();
  expect(asked).toHaveLength(10);
});

test("a released breaker makes calls, and counts failures from nothing", async () => {
  const changes: string[] = [];
  const breaker = createBreaker({ open: () => changes.push("open"), close: () => changes.push("close") });
  const fail = () => breaker.guard(() => Promise.reject(NO_ANSWER))({ method: "GET", path: "/x" });
  for (let time = 0; time < 4; time++) await expect(fail()).rejects.toThrow("no answer");
  breaker.hold();
  breaker.hold();
  await expect(fail()).rejects.toThrow("not answering");
  breaker.release();
  breaker.release();
  for (let time = 0; time < 4; time++) await expect(fail()).rejects.toThrow("no answer");
  expect([breaker.openSinceMs(), changes]).toEqual([null, ["open", "close"]]);
});
