import { MAX_EVENT_BYTES } from "../../../shared/contract/content/size.ts";
import type { MatrixRequest, NamedPerson } from "./define.ts";

type People = ReadonlyMap<string, NamedPerson>;

/**
 * The event that `write` makes of a content. The API refuses what is too large, with the names of then; where these have grown
 * since, people stand in the event as in the text, by their ids, and at last it has no HTML.
 */
export function fitEvent<Content extends { html?: string | null | undefined }>(
  content: Content,
  people: People,
  write: (content: Content, people: People) => MatrixRequest,
): MatrixRequest {
  const whole = write(content, people);
  if (people.size === 0 || isFit(whole)) return whole;
  const written = new Map([...people].map(([user, person]) => [user, { ...person, name: user }]));
  const shorter = write(content, written);
  return isFit(shorter) ? shorter : write({ ...content, html: null }, written);
}

function isFit({ content }: MatrixRequest): boolean {
  return Buffer.byteLength(JSON.stringify(content)) <= MAX_EVENT_BYTES;
}
