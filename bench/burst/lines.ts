import { z } from "zod";

/** An entry of the room's timeline; `index`: of a message of the burst. */
export type Line = { offset: number; index: number | null };

const push = z.object({
  push: z.object({
    channel: z.string(),
    pub: z.object({
      data: z.object({ text: z.string().optional() }),
      offset: z.int().optional(),
    }),
  }),
});

/** Null for a line that is no entry of the room. */
export function readLine(line: string, room: string): Line | null {
  const parsed = push.safeParse(JSON.parse(line)).data?.push;
  if (parsed?.channel !== room) return null;
  const { data, offset } = parsed.pub;
  if (offset === undefined) return null;
  return { offset, index: data.text === undefined ? null : indexOf(data.text) };
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
