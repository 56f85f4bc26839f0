import { Parser } from "htmlparser2";
import { LIMITS } from "./allowed.ts";

export type HtmlElement = { tag: string; attributes: Readonly<Record<string, string>>; children: HtmlNode[] };
export type HtmlNode = string | HtmlElement;

const PIECE_LENGTH = 2_048;

/** Reads HTML of any origin as a tree. Null when it is longer, deeper or has more tags than we show. */
export function parseHtml(html: string): HtmlNode[] | null {
  if (html.length > LIMITS.bytes) return null;
  const root: HtmlElement = { tag: "", attributes: {}, children: [] };
  const open = [root];
  let tags = 0;
  const beyond = { is: false };
  const parser = new Parser({
    onopentag(tag, attributes) {
      tags += 1;
      beyond.is ||= tags > LIMITS.tags || open.length > LIMITS.depth;
      if (beyond.is) return;
      const element = { tag, attributes, children: [] };
      open.at(-1)?.children.push(element);
      open.push(element);
    },
    ontext(text) {
      if (!beyond.is) addText(open.at(-1)?.children ?? [], text);
    },
    onclosetag() {
      if (!beyond.is && open.length > 1) open.pop();
    },
  });
  // In pieces, since the parser's own cost rises with the depth, which it does not limit.
  for (let from = 0; from < html.length && !beyond.is; from += PIECE_LENGTH)
    parser.write(html.slice(from, from + PIECE_LENGTH));
  parser.end();
  return beyond.is ? null : root.children;
}

/** The parser cuts text at character references: what reads text must see it whole. */
function addText(children: HtmlNode[], text: string): void {
  const last = children.at(-1);
  if (typeof last === "string") children[children.length - 1] = last + text;
  else children.push(text);
}
