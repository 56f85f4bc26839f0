import { expect, test } from "@jest/globals";
import { createBreaker } from "../../workers/matrix/homeserver/breaker.ts";
import { guardOf } from "../../workers/matrix/homeserver/pool.ts";
import { MatrixFailure } from "../../workers/matrix/http/failure.ts";

test.each([
  ["/sync", true],
  ["/events", true],
  ["/rooms/x/joined_members", false],
])("while the homeserver does not answer, %s is asked for: %s", async (path, isAsked) => {
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
])(
  "an answer %s, five times in a row, means that the homeserver is silent: %s",
  async (httpStatus, isSilent) => {
    const breaker = createBreaker({ open: () => undefined, close: () => undefined });
    const request = breaker.guard(() =>
      Promise.reject(new MatrixFailure("transient", { errcode: "no Matrix answer", httpStatus })),
    );
    for (let time = 0; time < 5; time++) await request({ method: "GET", path: "/x" }).catch(() => undefined);
    expect(breaker.isOpen()).toBe(isSilent);
  },
);
