const QUOTED_CHARACTERS = 200;

/** What is shown of a message in its answers, and in a list of rooms. */
export function firstCharacters(text: string): string {
  // A character takes two units at most: no more of a long text is looked at.
  return Array.from(text.slice(0, QUOTED_CHARACTERS * 2))
    .slice(0, QUOTED_CHARACTERS)
    .join("");
}
