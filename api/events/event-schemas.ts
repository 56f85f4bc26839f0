import { z } from "zod";
import { eventAttributes } from "../../shared/contract/events/envelope.ts";
import { EVENTS } from "../../shared/contract/events/index.ts";

/** The JSON Schemas of the domain events, one for each type: made of the schemas that check the calls. */
export function describeEvents(): Record<string, unknown> {
  const definitions = EVENTS.map(({ type, data, example, effect }) => {
    const schema = z
      .object({ ...eventAttributes.shape, type: z.literal(type), data })
      .meta({ description: effect, examples: [exampleEvent(type, example)] });
    const { $schema: _, ...described } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
    return [type, described] as const;
  });
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Domain events of OpenMeet Chat: CloudEvents 1.0 for POST /v1/events",
    oneOf: definitions.map(([type]) => ({ $ref: `#/$defs/${type}` })),
    $defs: Object.fromEntries(definitions),
  };
}

/** An event as it travels in the structured form. */
function exampleEvent(type: string, data: unknown): Record<string, unknown> {
  return { specversion: "1.0", id: "17", source: "https://product.example.org", type, data };
}
