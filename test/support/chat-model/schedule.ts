import fc from "fast-check";

/** Who writes by REST; `cy` comes and goes. */
export const WRITERS = ["ada", "bob", "cy"] as const;
/** Who writes on Matrix; nobody knows mallory here. */
export const MATRIX_WRITERS = ["bob", "mallory"] as const;
/** Who reacts by REST. Who reacts on Matrix is another person, so that a wish has one origin. */
const REACTS_BY_REST = ["ada", "cy"] as const;

/**
 * One step. `on` counts the messages that exist, around; `of` the acts of that person on it. `order` mixes what arrives together.
 */
export type Step =
  | { do: "post"; by: (typeof WRITERS)[number] }
  | { do: "edit"; on: number }
  | { do: "delete"; on: number; by: "author" | "mia" }
  | { do: "react" | "unreact"; on: number; by: (typeof REACTS_BY_REST)[number]; key: string }
  | { do: "post on Matrix"; by: (typeof MATRIX_WRITERS)[number] }
  | { do: "edit on Matrix"; on: number; isOld: boolean }
  | { do: "edit on Matrix what another wrote"; on: number; by: (typeof MATRIX_WRITERS)[number] }
  | { do: "delete on Matrix"; on: number; by: "author" | "mia" }
  | { do: "react on Matrix"; on: number; by: (typeof MATRIX_WRITERS)[number]; key: string }
  | { do: "withdraw on Matrix"; on: number; of: number }
  | { do: "send to Matrix"; refused: boolean }
  | { do: "replay what is dead" }
  | { do: "receive"; most: number; order: number }
  | { do: "receive through a gap"; order: number }
  | { do: "read again from the beginning" }
  | { do: "read up to" | "mark as unread"; by: (typeof WRITERS)[number]; back: number }
  | { do: "remove cy" | "add cy" };

const on = fc.nat({ max: 5 });
const order = fc.nat({ max: 999 });
const key = fc.constantFrom("+", "-");
const one = <T extends string>(...values: readonly T[]) => fc.constantFrom(...values);
const STEPS: readonly [weight: number, arbitrary: fc.Arbitrary<Step>][] = [
  [5, fc.record({ do: one("post"), by: one(...WRITERS) })],
  [4, fc.record({ do: one("edit"), on })],
  [2, fc.record({ do: one("delete"), on, by: one("author", "mia") })],
  [4, fc.record({ do: one("react"), on, by: one(...REACTS_BY_REST), key })],
  [3, fc.record({ do: one("unreact"), on, by: one(...REACTS_BY_REST), key })],
  [4, fc.record({ do: one("post on Matrix"), by: one(...MATRIX_WRITERS) })],
  [4, fc.record({ do: one("edit on Matrix"), on, isOld: fc.boolean() })],
  [1, fc.record({ do: one("edit on Matrix what another wrote"), on, by: one(...MATRIX_WRITERS) })],
  [2, fc.record({ do: one("delete on Matrix"), on, by: one("author", "mia") })],
  [4, fc.record({ do: one("react on Matrix"), on, by: one(...MATRIX_WRITERS), key })],
  [4, fc.record({ do: one("withdraw on Matrix"), on, of: on })],
  [6, fc.record({ do: one("send to Matrix"), refused: fc.nat({ max: 7 }).map((chance) => chance === 7) })],
  [1, fc.record({ do: one("replay what is dead") })],
  [5, fc.record({ do: one("receive"), most: fc.integer({ min: 1, max: 6 }), order })],
  [2, fc.record({ do: one("receive through a gap"), order })],
  [1, fc.record({ do: one("read again from the beginning") })],
  [3, fc.record({ do: one("read up to"), by: one(...WRITERS), back: on })],
  [2, fc.record({ do: one("mark as unread"), by: one(...WRITERS), back: on })],
  [1, fc.record({ do: one("remove cy") })],
  [1, fc.record({ do: one("add cy") })],
];

/** What people do in a room, in some order. It begins with a message, since without one there is nothing to do. */
export const schedule: fc.Arbitrary<Step[]> = fc
  .array(fc.oneof(...STEPS.map(([weight, arbitrary]) => ({ weight, arbitrary }))), {
    minLength: 4,
    maxLength: 40,
  })
  .map((steps) => [{ do: "post", by: "ada" }, ...steps]);

/** A schedule as a failure shows it: one step a line. */
export function describeSchedule(steps: readonly Step[]): string {
  return steps
    .map(({ do: what, ...fields }) =>
      [`  ${what}`, ...Object.entries(fields).map(([name, value]) => `${name}=${String(value)}`)].join(" "),
    )
    .join("\n");
}
