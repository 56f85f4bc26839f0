import { expect, test } from "@jest/globals";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { z } from "zod";
import { HANDLERS } from "../../api/events/handlers/index.ts";
import { describeEvents } from "../../api/events/event-schemas.ts";
import { EVENTS } from "../../shared/contract/events/index.ts";

const DOCUMENT = resolve(import.meta.dirname, "../../docs/events.md");
const TYPES = [
  ...["chat.event.created", "chat.event.updated", "chat.event.deleted", "chat.event.renamed"],
  ...["chat.event.member.add", "chat.event.member.remove", "chat.event.attendee.updated"],
  ...["chat.group.created", "chat.group.updated", "chat.group.deleted", "chat.group.renamed"],
  ...["chat.group.member.add", "chat.group.member.remove", "chat.group.member.role"],
  ...["chat.user.updated", "chat.user.deleted"],
];

test("the catalogue has every type once, each with a handler", () => {
  expect(EVENTS.map(({ type }) => type)).toEqual(TYPES);
  expect(Object.keys(HANDLERS).sort()).toEqual([...TYPES].sort());
});

test.each(EVENTS)(
  "the example of $type is an event of the type, and has no other field",
  ({ data, example }) => {
    expect(data.safeParse(example)).toMatchObject({ success: true });
    expect(data.safeParse({ ...example, other: 1 }).success).toBe(false);
  },
);

const definition = z.object({
  description: z.string(),
  required: z.array(z.string()),
  properties: z.object({
    type: z.object({ const: z.string() }),
    data: z.object({ properties: z.record(z.string(), z.unknown()), required: z.array(z.string()) }),
  }),
});

test.each(EVENTS)(
  "the JSON Schema of $type says which type it is, and which fields its data has",
  ({ type, effect }) => {
    const { $defs: definitions } = describeEvents() as { $defs: Record<string, unknown> };
    const { description, required, properties } = definition.parse(definitions[type]);
    expect(description).toBe(effect);
    expect(properties.type.const).toBe(type);
    expect(required).toEqual(expect.arrayContaining(["specversion", "id", "source", "type", "data"]));
  },
);

// After a change of the catalogue: UPDATE_DOCUMENTS=1 npm test -- test/contract/events.test.ts
test("docs/events.md describes every type as the catalogue does", () => {
  const [before = "", , after = ""] = readFileSync(DOCUMENT, "utf8").split(
    /(?<=<!-- catalogue -->)|(?=<!-- \/catalogue -->)/,
  );
  const expected = `${before}\n\n${describeCatalogue()}\n${after}`;
  if (process.env["UPDATE_DOCUMENTS"]) writeFileSync(DOCUMENT, expected);
  expect(readFileSync(DOCUMENT, "utf8")).toBe(expected);
});

function describeCatalogue(): string {
  return EVENTS.map(({ type, effect, example, data }) => {
    const fields = Object.entries<z.ZodType>(data.shape).map(([name, schema]) =>
      schema.safeParse(undefined).success ? `\`${name}?\`` : `\`${name}\``,
    );
    const shown = JSON.stringify(example, null, 1).replace(/\n\s*/g, " ");
    return `### \`${type}\`\n\n${effect} Data: ${fields.join(", ")}.\n\n\`\`\`json\n${shown}\n\`\`\`\n`;
  }).join("\n");
}
