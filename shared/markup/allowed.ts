/** What HTML may hold here: what we render, what comes from Matrix, and what clients show is of these tags alone. */
const ALLOWED: ReadonlySet<string> = new Set([
  ...["p", "br", "strong", "em", "del", "code", "pre", "blockquote", "ul", "ol", "li", "hr"],
  ...["h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "a", "span"],
]);

/** Tags that have the meaning of another one. */
const SYNONYMS: ReadonlyMap<string, string> = new Map([
  ["b", "strong"],
  ["i", "em"],
  ["s", "del"],
  ["strike", "del"],
]);

/** Tags that vanish with all that is in them. The text of any other tag stays. */
const DROPPED: ReadonlySet<string> = new Set([
  ...["mx-reply", "script", "style", "svg", "math", "template", "noscript", "iframe", "object", "embed"],
  ...[
    "head",
    "title",
    "textarea",
    "select",
    "noembed",
    "noframes",
    "xmp",
    "plaintext",
    "audio",
    "video",
    "canvas",
  ],
]);

const BLOCKS: ReadonlySet<string> = new Set([
  ...["p", "pre", "blockquote", "ul", "ol", "li", "hr", "h1", "h2", "h3", "h4", "h5", "h6"],
  ...["table", "thead", "tbody", "tr", "th", "td"],
]);

/** Tags that stand only in some others: elsewhere they are unwrapped. */
const PARENTS: ReadonlyMap<string, readonly string[]> = new Map([
  ["li", ["ul", "ol"]],
  ["thead", ["table"]],
  ["tbody", ["table"]],
  ["tr", ["table", "thead", "tbody"]],
  ["th", ["tr"]],
  ["td", ["tr"]],
]);

const FLAT: ReadonlySet<string> = new Set(["p", "h1", "h2", "h3", "h4", "h5", "h6"]);
const SCHEMES: ReadonlySet<string> = new Set(["http:", "https:", "mailto:"]);
const MAX_HREF_LENGTH = 2_000;

export const VOID: ReadonlySet<string> = new Set(["br", "hr"]);

/** Beyond these HTML is not shown, but the plain text. */
export const LIMITS = { depth: 20, tags: 1_000, bytes: 60_000 };

/** What becomes of a tag inside of `open`, the kept tags around it, innermost last. */
export function judgeTag(name: string, open: readonly string[]): { keep: string } | "drop" | "unwrap" {
  const tag = SYNONYMS.get(name) ?? name;
  if (DROPPED.has(tag)) return "drop";
  const isPlaced = PARENTS.get(tag)?.includes(open.at(-1) ?? "") ?? true;
  const isCut = BLOCKS.has(tag) && open.some((outer) => FLAT.has(outer));
  const isNested = tag === "a" && open.includes("a");
  return ALLOWED.has(tag) && isPlaced && !isCut && !isNested ? { keep: tag } : "unwrap";
}

/** Whether text in front of a tag and behind it stands apart. */
export function isBlock(name: string): boolean {
  return BLOCKS.has(name) || name === "div";
}

/** The link as it is shown; null when it leads where no link may. */
export function allowedHref(href: string): string | null {
  if (href.length > MAX_HREF_LENGTH || !URL.canParse(href)) return null;
  const url = new URL(href);
  return SCHEMES.has(url.protocol) ? url.href : null;
}

/** The class of code, which names its language; null for any other class. */
export function allowedClass(names: string): string | null {
  return names.split(/\s+/).find((name) => /^language-[\w+#.-]{1,40}$/.test(name)) ?? null;
}
