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
  expect(breaker.isOpen()).toBe(true);
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
  expect(breaker.isOpen()).toBe(opens);
});
