import { escapeAttribute, escapeText } from "../../../shared/markup/escape.ts";
import { OURS, walkHtml, type Vocabulary, type Walked } from "../../../shared/markup/walk.ts";
import type { MatrixEvent } from "../event.ts";
import type { EventPeople, NamedPerson } from "./define.ts";
import { hideMatrixIds, namesPerson, readMatrixLink } from "./read/matrix-ids.ts";

const SPOILER = "data-mx-spoiler";

/** Our HTML as Matrix clients read it: mentions are links to people. */
export function htmlToMatrix(html: string, people: ReadonlyMap<string, NamedPerson>): string | null {
  const vocabulary: Vocabulary = {
    ...OURS,
    writeMention: ({ user, name }, isInLink) => {
      const person = people.get(user);
      if (person === undefined || isInLink) return `@${escapeText(person?.name ?? name)}`;
      const href = escapeAttribute(`https://matrix.to/#/${person.matrixUserId}`);
      return `<a href="${href}">${escapeText(person.name)}</a>`;
    },
    spoiler: { from: "data-spoiler", to: SPOILER },
    linkAttributes: "",
  };
  return walkHtml(html, vocabulary)?.html ?? null;
}

/** The HTML of a Matrix client as we show it: without what is not allowed, and without Matrix ids. Null beyond the limits. */
export function htmlFromMatrix(html: string, event: MatrixEvent, people: EventPeople): Walked | null {
  return walkHtml(html, {
    ...OURS,
    mention: ({ tag, attributes }) => {
      const href = tag === "a" ? (attributes["href"] ?? "") : "";
      const link = readMatrixLink(href);
      // Other sites than matrix.to name people in their addresses too.
      if (link === null) return namesPerson(href, event, people) ? "text" : null;
      return (link.user === null ? undefined : people.find(link.user)) ?? "text";
    },
    plain: (text) => hideMatrixIds(text, event, people),
    spoiler: { from: SPOILER, to: "data-spoiler" },
  });
}
