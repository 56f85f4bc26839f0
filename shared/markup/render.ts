import MarkdownIt from "markdown-it";
import { LIMITS } from "./allowed.ts";
import { escapeText } from "./escape.ts";
import { mentionAt, splitMentions, type Names } from "./mentions.ts";
import { OURS, walkHtml } from "./walk.ts";

/**
 * Deeper than what is shown, so that the limits refuse what the parser would cut. The cost of brackets rises with it: 10,000 of
 * them take 6 ms here, and 20 ms with 100.
 */
const MAX_NESTING = LIMITS.depth + 4;

/** CommonMark with strikethrough, and links for addresses with a scheme. HTML in it is text. */
const markdown = new MarkdownIt("commonmark", { html: false, linkify: true, maxNesting: MAX_NESTING });
markdown.enable(["strikethrough", "linkify"]).disable("image");
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
markdown.linkify.add("ftp:", null).add("//", null);

/** Names of people come before the rules to which the characters of an id mean something. */
markdown.inline.ruler.before("escape", "mention", (state, isSilent) => {
  const names = namesOf(state.env);
  const found = names && mentionAt(state.src, state.pos, names);
  if (!found) return false;
  if (!isSilent) state.push("mention", "", 0).meta = { user: found.user, name: found.name };
  state.pos = found.end;
  return true;
});
markdown.renderer.rules["mention"] = (tokens, index) => {
  const { user, name } = tokens[index]?.meta as { user: string; name: string };
  return OURS.writeMention({ user, name }, false);
};

function namesOf(env: unknown): Names | null {
  return typeof env === "object" && env !== null && "names" in env && env.names instanceof Map
    ? env.names
    : null;
}

/** Safe HTML of Markdown, with the mentions of people; null when it shows nothing, or is beyond the limits. */
export function renderMarkdown(text: string, names: Names): string | null {
  // The same list of tags, and the same writer, as for HTML of any origin.
  const walked = walkHtml(markdown.render(text, { names }), OURS);
  return walked === null || walked.html === "" ? null : walked.html;
}

/** Safe HTML of a plain text with mentions; null for one without, and beyond the limits. */
export function renderPlain(text: string, names: Names): string | null {
  if (names.size === 0) return null;
  const parts = splitMentions(text, names);
  if (parts.every((part) => typeof part === "string")) return null;
  const html = parts
    .map((part) =>
      typeof part === "string" ? escapeText(part).replaceAll("\n", "<br>") : OURS.writeMention(part, false),
    )
    .join("");
  return Buffer.byteLength(html) > LIMITS.bytes ? null : html;
}
