import { describe, expect, test } from "@jest/globals";
import type { DeadCode } from "../../shared/db/messages/dead/dead-messages.ts";
import {
  isLasting,
  MatrixFailure,
  translateError,
  unlessConflict,
  unlessMissing,
  type FailureKind,
} from "../../workers/matrix/http/failure.ts";
import { DEFAULT_MAX_AGE_MS } from "../../shared/db/tenants/tenants.ts";
import { backoffMs, decideRetry, type FailedAttempt, type SendStep } from "../../workers/outbound/retry.ts";

const failed: FailedAttempt = {
  kind: "transient",
  step: "send",
  attempts: 0,
  ageMs: 0,
  maxAgeMs: DEFAULT_MAX_AGE_MS,
  failing: { failingMs: 0, sinceLastMs: null },
  othersSentAgoMs: null,
  retryAfterMs: null,
};

const MINUTE_MS = 60_000;

test("a homeserver that takes no messages makes none dead, however many attempts fail and however old they are", () => {
  for (const kind of ["transient", "limited", "auth"] as const)
    for (const step of ["room", "sender", "send"] as const)
      for (const othersSentAgoMs of [null, 30_001]) {
        const away = { ...failed, kind, step, othersSentAgoMs, attempts: 1_000_000, ageMs: 30 * 86_400_000 };
        const failing = { failingMs: 14 * MINUTE_MS, sinceLastMs: 30_000 };
        expect(decideRetry({ ...away, failing }, 0)).toMatchObject({
          action: "retry",
          failingMs: 14 * MINUTE_MS,
        });
        expect(decideRetry({ ...away, failing: null }, 0)).toMatchObject({
          action: "retry",
          failingMs: null,
        });
      }
});

// The step, the kind of the failure, how long the message had failed before this attempt, 10 s after the last one, and its age.
test.each<[SendStep, FailureKind, number, number, DeadCode | null]>([
  ["send", "transient", 14 * MINUTE_MS, 0, null],
  ["send", "transient", 15 * MINUTE_MS - 10_000, 0, "unanswered"],
  ["send", "limited", 15 * MINUTE_MS, 0, "unanswered"],
  ["send", "unclear", 15 * MINUTE_MS, 0, "unanswered"],
  ["room", "permanent", 14 * MINUTE_MS, 0, null],
  ["room", "permanent", 15 * MINUTE_MS, 0, "unanswered"],
  ["sender", "permanent", 40_000, 0, null],
  ["sender", "permanent", 50_000, 0, "unanswered"],
  ["sender", "transient", 50_000, 0, "unanswered"],
  // It asks to wait, or refuses the observer: neither is of the sender.
  ["sender", "limited", 50_000, 0, null],
  ["sender", "auth", 50_000, 0, null],
  ["sender", "auth", 15 * MINUTE_MS, 0, "unanswered"],
  ["send", "transient", 40_000, DEFAULT_MAX_AGE_MS + 1, null],
  ["send", "transient", 50_000, DEFAULT_MAX_AGE_MS + 1, "expired"],
  ["send", "transient", 50_000, DEFAULT_MAX_AGE_MS, null],
])(
  "a message whose call for its %s fails (%s) after %i ms while others are sent, %i ms old, has the code %p",
  (step, kind, failingMs, ageMs, code) => {
    const failing = { failingMs, sinceLastMs: 10_000 };
    const served = { ...failed, step, kind, ageMs, failing, othersSentAgoMs: 9_000 };
    expect(decideRetry(served, 0)).toMatchObject(
      code === null ? { action: "retry", failingMs: failingMs + 10_000 } : { action: "dead", code },
    );
  },
);

test("the first failure after an outage, an hour after the one before, counts for less than a minute", () => {
  const failing = { failingMs: 0, sinceLastMs: 60 * MINUTE_MS };
  const after = { ...failed, step: "sender", failing, othersSentAgoMs: 1_000 } as const;
  expect(decideRetry(after, 0)).toMatchObject({ action: "retry", failingMs: 45_000 });
});

type Row = [number, string | null, FailureKind, Record<SendStep, Fate>];
type Fate = "retried" | `dead ${DeadCode}` | `dead ${DeadCode} at the third`;

const RETRIED: Record<SendStep, Fate> = { room: "retried", sender: "retried", send: "retried" };
const REFUSED: Record<SendStep, Fate> = { ...RETRIED, send: "dead refused" };
const FORBIDDEN: Record<SendStep, Fate> = { ...RETRIED, send: "dead forbidden at the third" };
const OF_SENDER: Record<SendStep, Fate> = { ...RETRIED, sender: "dead forbidden", send: "dead forbidden" };

// The status, the error code of a Matrix error (null: the body is none, such as HTML), and what becomes of the message when
// the call was for its room, for its sender, or for itself.
const TABLE: Row[] = [
  // Verdicts on what was sent.
  [413, "M_TOO_LARGE", "permanent", REFUSED],
  [400, "M_BAD_JSON", "permanent", REFUSED],
  [400, "M_INVALID_PARAM", "permanent", REFUSED],
  [400, "M_MISSING_PARAM", "permanent", REFUSED],
  // Verdicts on the account that sends it.
  [403, "M_USER_DEACTIVATED", "account", OF_SENDER],
  [403, "M_USER_SUSPENDED", "account", OF_SENDER],
  [401, "M_USER_LOCKED", "account", OF_SENDER],
  // Verdicts once what they may come from is repaired.
  [403, "M_FORBIDDEN", "forbidden", FORBIDDEN],
  [400, "M_UNKNOWN_DEVICE", "forbidden", FORBIDDEN],
  // Of the call's target or of what is there already, and not of the message.
  [404, "M_NOT_FOUND", "missing", RETRIED],
  [400, "M_USER_IN_USE", "conflict", RETRIED],
  [400, "M_ROOM_IN_USE", "conflict", RETRIED],
  [409, "M_UNKNOWN", "conflict", RETRIED],
  [409, "M_ODD", "conflict", RETRIED],
  // A worker that is not responsible, a module, a proxy that speaks JSON.
  [404, "M_UNRECOGNIZED", "unclear", RETRIED],
  [405, "M_UNRECOGNIZED", "unclear", RETRIED],
  [400, "M_UNRECOGNIZED", "unclear", RETRIED],
  [400, "M_NOT_JSON", "unclear", RETRIED],
  [400, "M_UNKNOWN", "unclear", RETRIED],
  [403, "M_UNKNOWN", "unclear", RETRIED],
  [404, "M_UNKNOWN", "unclear", RETRIED],
  [400, "M_ODD", "unclear", RETRIED],
  [451, "M_ODD", "unclear", RETRIED],
  // A proxy.
  [400, null, "transient", RETRIED],
  [401, null, "transient", RETRIED],
  [403, null, "transient", RETRIED],
  [404, null, "transient", RETRIED],
  [405, null, "transient", RETRIED],
  [408, null, "transient", RETRIED],
  [409, null, "transient", RETRIED],
  [413, null, "transient", RETRIED],
  [502, null, "transient", RETRIED],
  [504, null, "transient", RETRIED],
  // The homeserver is at fault or is slow.
  [408, "M_ODD", "transient", RETRIED],
  [500, "M_UNKNOWN", "transient", RETRIED],
  [500, "M_FORBIDDEN", "transient", RETRIED],
  [500, "M_TOO_LARGE", "transient", RETRIED],
  [503, "M_NOT_FOUND", "transient", RETRIED],
  // It asks to wait.
  [429, "M_LIMIT_EXCEEDED", "limited", RETRIED],
  [429, null, "limited", RETRIED],
  [403, "M_RESOURCE_LIMIT_EXCEEDED", "limited", RETRIED],
  [403, "M_CONSENT_NOT_GIVEN", "limited", RETRIED],
  // It does not know our credential.
  [401, "M_UNKNOWN_TOKEN", "auth", RETRIED],
  [401, "M_MISSING_TOKEN", "auth", RETRIED],
  [401, "M_ODD", "auth", RETRIED],
];

describe.each(TABLE)("a response %p %p", (httpStatus, errcode, kind, fates) => {
  test(`is a failure of kind ${kind}`, () => {
    expect(translateError(httpStatus, errcode)).toBe(kind);
  });

  test.each(Object.entries(fates) as [SendStep, Fate][])(
    "to a call for the %s of a message: it is %s",
    (step, fate) => {
      const decide = (attempts: number) => decideRetry({ ...failed, kind, step, attempts }, 0);
      const deadAt = [0, 1, 2, 1_000].map((attempts) => {
        const decision = decide(attempts);
        return decision.action === "dead" ? decision.code : null;
      });
      const [, code] = /^dead (\w+)/.exec(fate) ?? [null, null];
      if (fate.endsWith("third")) expect(deadAt).toEqual([null, null, code, code]);
      else expect(deadAt).toEqual([code, code, code, code]);
    },
  );
});

test("a refusal that is unclear is taken for a lasting one after the fifth", () => {
  expect([0, 4, 5, 100].map((attempts) => isLasting("unclear", attempts))).toEqual([
    false,
    false,
    true,
    true,
  ]);
  expect([isLasting("permanent", 0), isLasting("transient", 100), isLasting("limited", 100)]).toEqual([
    true,
    false,
    false,
  ]);
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
