import { allowedClass, allowedHref, isBlock, judgeTag, LIMITS, VOID } from "./allowed.ts";
import { escapeAttribute, escapeText } from "./escape.ts";
import { parseHtml, type HtmlElement, type HtmlNode } from "./parse.ts";

/** A person who is mentioned, as the text shows it. */
export type Mention = { user: string; name: string };

/** What depends on where HTML comes from, and where it goes. */
export type Vocabulary = {
  /** The person whom an element mentions, with its text; `text`: the element is only its text. Null: neither. */
  mention(element: HtmlElement): Mention | "text" | null;
  /** Text as people may read it. */
  readonly plain: (text: string) => string;
  /** A mention as HTML. `isInLink`: where no other link can stand. */
  writeMention(mention: Mention, isInLink: boolean): string;
  /** Names of attributes. */
  readonly spoiler: { from: string; to: string };
  readonly linkAttributes: string;
};

export type Walked = { html: string; mentioned: string[] };

/**
 * HTML written from nothing: only tags that are allowed, balanced, every text and attribute escaped. Null when the HTML is beyond
 * the limits.
 */
export function walkHtml(html: string, vocabulary: Vocabulary): Walked | null {
  const nodes = parseHtml(html);
  if (nodes === null) return null;
  const mentioned = new Set<string>();
  const written = writeAll(nodes, [], { vocabulary, mentioned }).trim();
  if (Buffer.byteLength(written) > LIMITS.bytes) return null;
  return { html: written, mentioned: [...mentioned] };
}

type Walk = { vocabulary: Vocabulary; mentioned: Set<string> };

function writeAll(nodes: readonly HtmlNode[], open: readonly string[], walk: Walk): string {
  return nodes
    .map((node) =>
      typeof node === "string" ? escapeText(walk.vocabulary.plain(node)) : writeElement(node, open, walk),
    )
    .join("");
}

function writeElement(element: HtmlElement, open: readonly string[], walk: Walk): string {
  const { vocabulary, mentioned } = walk;
  const mention = vocabulary.mention(element);
  if (mention === "text") return writeAll(element.children, open, walk);
  if (mention !== null) {
    mentioned.add(mention.user);
    return vocabulary.writeMention(mention, open.includes("a"));
  }
  const verdict = judgeTag(element.tag, open);
  if (verdict === "drop") return "";
  const attributes = verdict === "unwrap" ? null : writeAttributes(verdict.keep, element, vocabulary);
  if (verdict === "unwrap" || attributes === null) {
    const edge = isBlock(element.tag) ? "\n" : "";
    return `${edge}${writeAll(element.children, open, walk)}${edge}`;
  }
  const tag = verdict.keep;
  if (VOID.has(tag)) return `<${tag}>`;
  return `<${tag}${attributes}>${writeAll(element.children, [...open, tag], walk)}</${tag}>`;
}

/** Null for an element that is nothing without its attributes. */
function writeAttributes(
  tag: string,
  { attributes }: HtmlElement,
  { spoiler, linkAttributes, plain }: Vocabulary,
): string | null {
  if (tag === "a") {
    const href = allowedHref(attributes["href"] ?? "");
    return href === null ? null : ` href="${escapeAttribute(href)}"${linkAttributes}`;
  }
  if (tag === "span") {
    const reason = attributes[spoiler.from];
    return reason === undefined ? null : ` ${spoiler.to}="${escapeAttribute(plain(reason))}"`;
  }
  const language = tag === "code" ? allowedClass(attributes["class"] ?? "") : null;
  return language === null ? "" : ` class="${escapeAttribute(language)}"`;
}

/** The text of an element. */
function textOf(node: HtmlNode): string {
  return typeof node === "string" ? node : node.children.map(textOf).join("");
}

/** What HTML of ours says of people and spoilers. */
export const OURS: Vocabulary = {
  mention: (element) => {
    const user = element.tag === "span" ? element.attributes["data-mention"] : undefined;
    return user === undefined ? null : { user, name: textOf(element).replace(/^@/, "") };
  },
  plain: (text) => text,
  writeMention: ({ user, name }) =>
    `<span data-mention="${escapeAttribute(user)}">@${escapeText(name)}</span>`,
  spoiler: { from: "data-spoiler", to: "data-spoiler" },
  linkAttributes: ' rel="nofollow noopener"',
};
