import { expect, test } from "@jest/globals";
import type { EntryRow } from "../../shared/db/timeline/entries.ts";
import { planDeliveries } from "../../shared/timeline/consumers/plan-deliveries.ts";

const place = { tenantId: "t", roomId: "r" };

function entry(number: number): EntryRow {
  return {
    ...{
      room_id: "r",
      number,
      entry_id: `e${number}`,
      type: "message.created",
      client_id: null,
      content: {},
    },
    ...{ at: new Date(0), sender_id: null, sender_name: null, sender_user: null, sender_display_name: null },
    ...{ revision: null, edit_content: null, edited_at: null, deletion: null, reactions: null, reply: null },
    ...{ target: null, reactors: null, sender_ref: null },
    ...{ sender_avatar: null, kind: "group", slug: "s", relates_to: null, redacted_at: null },
    ...{ status: "sent", error_code: null, error_message: null, request_id: null },
  };
}

/** Entries by number, gaps as `from-to`. */
function plan(position: number, lastNumber: number, numbers: readonly number[], limit = 10) {
  return planDeliveries({ ...place, position, lastNumber }, numbers.map(entry), limit).map((delivery) =>
    delivery.type === "gap" ? `${delivery.from}-${delivery.to}` : delivery.number,
  );
}

test("entries that continue the cursor are delivered in order, with no gap", () => {
  expect(plan(2, 5, [3, 4, 5])).toEqual([3, 4, 5]);
  expect(plan(5, 5, [])).toEqual([]);
});

test("entries that retention has cut are one gap before the first entry that exists", () => {
  expect(plan(2, 9, [7, 8, 9])).toEqual(["3-6", 7, 8, 9]);
});

test("a room whose entries are all cut is one gap", () => {
  expect(plan(2, 9, [])).toEqual(["3-9"]);
});

test("a full page has no gap at its end: the rest is on the next page", () => {
  expect(plan(0, 9, [1, 2, 3], 3)).toEqual([1, 2, 3]);
});
