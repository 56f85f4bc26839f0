import { describe, expect, test } from "@jest/globals";
import { countMissed, decideRecovery, type Budget } from "../../realtime/session/recover.ts";
import type { Entry } from "../../realtime/channels/topic-ref.ts";

const entries = (from: number, to: number): Entry[] =>
  Array.from({ length: to - from + 1 }, (_, n) => ({
    number: from + n,
    removedUserId: null,
    requestId: null,
    data: `{"n":${from + n}}`,
  }));
const budget = (): Budget => ({ entries: 300, bytes: 10_000 });
const at = { epoch: "e", number: 9 };
const lost = { isRecovered: false, publications: [] };

describe("a recovery from the stream's entries and the entries delivered since", () => {
  test("contains every entry once when the parts overlap", () => {
    const parts = { found: entries(4, 7), held: entries(6, 9) };
    const recovery = decideRecovery({ epoch: "e", offset: 3 }, at, parts, budget());
    expect(recovery.publications.map(({ offset }) => offset)).toEqual([4, 5, 6, 7, 8, 9]);
  });

  test("is refused when there is a hole between the parts", () => {
    const parts = { found: entries(4, 5), held: entries(7, 9) };
    expect(decideRecovery({ epoch: "e", offset: 3 }, at, parts, budget())).toEqual(lost);
  });

  test("ends at the topic's position: live delivery brings what follows", () => {
    const parts = { found: entries(4, 20), held: [] };
    const recovery = decideRecovery({ epoch: "e", offset: 3 }, at, parts, budget());
    expect(recovery.publications.at(-1)?.offset).toBe(9);
  });

  test("succeeds without entries for a position at the end", () => {
    const recovery = decideRecovery({ epoch: "e", offset: 9 }, at, { found: [], held: [] }, budget());
    expect(recovery).toEqual({ isRecovered: true, publications: [] });
  });

  test("is refused when its start was trimmed from the stream", () => {
    expect(
      decideRecovery({ epoch: "e", offset: 3 }, at, { found: entries(5, 9), held: [] }, budget()),
    ).toEqual(lost);
  });
});

test("only recovered entries use the budget", () => {
  const left: Budget = { entries: 6, bytes: 10_000 };
  decideRecovery({ epoch: "e", offset: 3 }, at, { found: entries(4, 8), held: [] }, left);
  expect(left.entries).toBe(6);
  expect(
    decideRecovery({ epoch: "e", offset: 3 }, at, { found: entries(4, 9), held: [] }, left).isRecovered,
  ).toBe(true);
  expect(left.entries).toBe(0);
  expect(decideRecovery({ epoch: "e", offset: 8 }, at, { found: entries(9, 9), held: [] }, left)).toEqual(
    lost,
  );
});

test("the number of missed entries is unknown for a position of another epoch or ahead of the stream", () => {
  expect(countMissed({ epoch: "x", offset: 9 }, at)).toBeNull();
  expect(countMissed({ epoch: "e", offset: 10 }, at)).toBeNull();
  expect(countMissed({ epoch: "e", offset: 8 }, at)).toBe(1);
});
