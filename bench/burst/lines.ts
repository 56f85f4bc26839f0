import { z } from "zod";

/** What a line of a socket says about the burst: an entry of the room's timeline, or a message that has no number yet. */
export type Line =
  { type: "entry"; offset: number; index: number | null } | { type: "pending"; index: number };

const push = z.object({
  push: z.object({
    channel: z.string(),
    pub: z.object({
      data: z.object({ type: z.string(), text: z.string().optional() }),
      offset: z.int().optional(),
    }),
  }),
});

/** Null for a line that says nothing about the room. */
export function readLine(line: string, room: string): Line | null {
  const parsed = push.safeParse(JSON.parse(line)).data?.push;
  if (parsed?.channel !== room) return null;
  const { data, offset } = parsed.pub;
  const index = data.text === undefined ? null : indexOf(data.text);
  if (offset !== undefined) return { type: "entry", offset, index };
  return data.type === "message.pending" && index !== null ? { type: "pending", index } : null;
}
/** The text of the burst's message with this index. */
export function textOf(index: number): string {
  return `A line of about fifty characters, as people write ${String(index)}`;
}

/** The index of a message of the burst by its text; null for another text. */
export function indexOf(text: string): number | null {
  const found = /^A line of about fifty characters, as people write (\d+)$/.exec(text)?.[1];
  return found === undefined ? null : Number(found);
}
