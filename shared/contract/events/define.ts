import type { z } from "zod";

/** A type of domain event: what a product tells of its events, groups and people. */
export type DomainEvent<Type extends string = string, Data extends z.ZodType = z.ZodType> = {
  /** The CloudEvents attribute `type`. */
  readonly type: Type;
  readonly data: Data;
  readonly example: z.input<Data>;
  /** What it does here, for readers of the documentation. */
  readonly effect: string;
};

export function defineEvent<const Type extends string, Data extends z.ZodType>(
  event: DomainEvent<Type, Data>,
): DomainEvent<Type, Data> {
  return event;
}
