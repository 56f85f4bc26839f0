import { expect, test } from "@jest/globals";
import {
  MatrixFailure,
  translateError,
  unlessConflict,
  unlessMissing,
} from "../../workers/matrix/http/failure.ts";
import { DEFAULT_MAX_AGE_MS } from "../../shared/db/tenants/tenants.ts";
import { backoffMs, decideRetry, type FailedAttempt } from "../../workers/outbound/retry.ts";

const failed: FailedAttempt = {
  kind: "transient",
  attempts: 0,
  ageMs: 0,
  maxAgeMs: DEFAULT_MAX_AGE_MS,
  retryAfterMs: null,
};

test("a homeserver that does not answer or answers 429 makes no message dead, however many attempts fail", () => {
  for (const kind of ["transient", "limited", "auth"] as const) {
    expect(decideRetry({ ...failed, kind, attempts: 1_000_000, ageMs: 6 * 86_400_000 }, 0).action).toBe(
      "retry",
    );
  }
});

test("a message that could not be sent for a week is dead, with a reason people can read", () => {
  expect(decideRetry({ ...failed, ageMs: DEFAULT_MAX_AGE_MS + 1 }, 0)).toEqual({
    action: "dead",
    code: "expired",
    reason: expect.stringMatching(/^[A-Z].*\.$/),
  });
});

test.each([
  ["permanent", "refused"],
  ["conflict", "refused"],
  ["missing", "room_gone"],
] as const)("a message that is refused for good (%s) is dead at once: %s", (kind, code) => {
  expect(decideRetry({ ...failed, kind }, 0)).toMatchObject({ action: "dead", code });
});

test("a refusal that may be repaired makes a message dead at the third attempt", () => {
  const actions = [0, 1, 2].map(
    (attempts) => decideRetry({ ...failed, kind: "forbidden", attempts }, 0).action,
  );
  expect(actions).toEqual(["retry", "retry", "dead"]);
});

test("the delay doubles from a quarter of a second to ten seconds, spread by half", () => {
  const pauses = Array.from({ length: 8 }, (_, attempts) => backoffMs({ attempts, retryAfterMs: null }, 1));
  expect(pauses).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
  expect(backoffMs({ attempts: 0, retryAfterMs: null }, 0)).toBe(125);
  expect(backoffMs({ attempts: 1_000_000, retryAfterMs: null }, 0)).toBe(5_000);
});

test("the delay of a 429 is at least what the homeserver asks for, up to ten minutes", () => {
  expect(backoffMs({ attempts: 0, retryAfterMs: 30_000 }, 0)).toBe(30_000);
  expect(backoffMs({ attempts: 0, retryAfterMs: 10_000_000 }, 0)).toBe(600_000);
  expect(backoffMs({ attempts: 9, retryAfterMs: 1 }, 0)).toBe(5_000);
});

test.each([
  [429, "M_LIMIT_EXCEEDED", "limited"],
  [403, "M_RESOURCE_LIMIT_EXCEEDED", "limited"],
  [403, "M_CONSENT_NOT_GIVEN", "limited"],
  [401, "M_UNKNOWN_TOKEN", "auth"],
  [401, "M_ODD", "auth"],
  [403, "M_FORBIDDEN", "forbidden"],
  [400, "M_UNKNOWN_DEVICE", "forbidden"],
  [403, "M_USER_DEACTIVATED", "permanent"],
  [400, "M_USER_IN_USE", "conflict"],
  [400, "M_ROOM_IN_USE", "conflict"],
  [409, "M_ODD", "conflict"],
  [404, "M_NOT_FOUND", "missing"],
  [408, "M_ODD", "transient"],
  [400, "M_BAD_JSON", "permanent"],
  [413, "M_TOO_LARGE", "permanent"],
  [500, "M_FORBIDDEN", "transient"],
  [503, "M_NOT_FOUND", "transient"],
  // Without a Matrix error code the response is a proxy's.
  [429, null, "limited"],
  [400, null, "transient"],
  [401, null, "transient"],
  [403, null, "transient"],
  [404, null, "transient"],
  [409, null, "transient"],
  [413, null, "permanent"],
  [502, null, "transient"],
  [504, null, "transient"],
] as const)("a response %d %s is a failure of kind %s", (status, errcode, kind) => {
  expect(translateError(status, errcode)).toBe(kind);
});

test("a conflict when creating and a missing thing when removing are successes; any other failure is not", async () => {
  const fail = (kind: MatrixFailure["kind"]) =>
    Promise.reject(new MatrixFailure(kind, { errcode: "M_X", httpStatus: 400 }));
  expect(await unlessConflict(fail("conflict"))).toBeNull();
  expect(await unlessMissing(fail("missing"))).toBeNull();
  expect(await unlessConflict(Promise.resolve(1))).toBe(1);
  await expect(unlessConflict(fail("missing"))).rejects.toMatchObject({ kind: "missing" });
  await expect(unlessMissing(fail("transient"))).rejects.toMatchObject({ kind: "transient" });
});

test("what only the homeserver's operator can repair is retried once a minute", () => {
  const limited = (errcode: string) =>
    new MatrixFailure("limited", { errcode, httpStatus: 403, retryAfterMs: null }).retryAfterMs;
  expect(limited("M_RESOURCE_LIMIT_EXCEEDED")).toBe(60_000);
  expect(limited("M_LIMIT_EXCEEDED")).toBe(2_000);
});
