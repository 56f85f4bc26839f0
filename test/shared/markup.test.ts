import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { LIMITS } from "../../shared/markup/allowed.ts";
import { nameMentions, splitMentions } from "../../shared/markup/mentions.ts";
import { parseHtml, type HtmlNode } from "../../shared/markup/parse.ts";
import { renderMarkdown, renderPlain } from "../../shared/markup/render.ts";
import { OURS, walkHtml } from "../../shared/markup/walk.ts";

const names = new Map([
  ["ada", "Ada <3"],
  ["ada.b", "Ada B"],
  ["x_y", "X Y"],
]);
const ADA = '<span data-mention="ada">@Ada &lt;3</span>';

test.each([
  ["emphasis", "*a* **b** ~~c~~ `d`", "<p><em>a</em> <strong>b</strong> <del>c</del> <code>d</code></p>"],
  ["HTML, which is text", "<b onclick=x>a</b>", "<p>&lt;b onclick=x&gt;a&lt;/b&gt;</p>"],
  ["a script, which is text", "<script>x</script>", "<p>&lt;script&gt;x&lt;/script&gt;</p>"],
  [
    "an image, which is text",
    "![a](https://b.org/c.png)",
    '<p>!<a href="https://b.org/c.png" rel="nofollow noopener">a</a></p>',
  ],
  [
    "a link",
    "[a](https://b.org/?c=1&d)",
    '<p><a href="https://b.org/?c=1&amp;d" rel="nofollow noopener">a</a></p>',
  ],
  ["a link that runs something", "[a](javascript:x)", "<p>[a](javascript:x)</p>"],
  [
    "an address",
    "see https://b.org.",
    '<p>see <a href="https://b.org/" rel="nofollow noopener">https://b.org</a>.</p>',
  ],
  ["an address without a scheme", "see b.org", "<p>see b.org</p>"],
  ["code with its language", "```js\n<a>\n```", '<pre><code class="language-js">&lt;a&gt;\n</code></pre>'],
  ["a list", "1. a\n2. b", "<ol>\n<li>a</li>\n<li>b</li>\n</ol>"],
  ["a mention", "hi **@ada**!", `<p>hi <strong>${ADA}</strong>!</p>`],
  [
    "a mention whose id looks like Markdown",
    "*@x_y*",
    '<p><em><span data-mention="x_y">@X Y</span></em></p>',
  ],
  ["a mention in code, which is text", "`@ada`", "<p><code>@ada</code></p>"],
  [
    "a mention in a link",
    "[@ada](https://b.org)",
    `<p><a href="https://b.org/" rel="nofollow noopener">${ADA}</a></p>`,
  ],
])("Markdown of %s is safe HTML", (_, text, html) => {
  expect(renderMarkdown(text, names)).toBe(html);
});

test.each([
  ["the longest id counts", "@ada.b @ada. @ada", ["@Ada B", " ", "@Ada <3", ". ", "@Ada <3"]],
  ["inside a word there is none", "me@ada @adam @ada_", ["me@ada @adam @ada_"]],
  ["an unknown one is text", "@bob", ["@bob"]],
])("of mentions in a text, %s", (_, text, parts) => {
  const named = splitMentions(text, names).map((part) => (typeof part === "string" ? part : `@${part.name}`));
  expect(named).toEqual(parts);
  expect(nameMentions(text, names)).toBe(parts.join(""));
});

test("a plain text is HTML only for its mentions", () => {
  expect(renderPlain("a < b", names)).toBeNull();
  expect(renderPlain("<b>\n@ada", names)).toBe(`&lt;b&gt;<br>${ADA}`);
});

test.each([
  ["scripts", "a<script>b</script><style>c</style>d", "ad"],
  ["pictures and frames", 'a<img src="x" onerror="y"><iframe src="x">b</iframe><svg><a>c</a></svg>d', "ad"],
  ["quotes of replies", "<mx-reply><blockquote>a</blockquote></mx-reply>b", "b"],
  ["unknown tags", "<font color=red>a</font><center><b>c</b></center>", "a<strong>c</strong>"],
  ["attributes", '<p style="x" onclick="y" class="z">a</p>', "<p>a</p>"],
  ["links that run something", '<a href="javascript:x">a</a><a href="data:text/html,x">b</a>', "ab"],
  ["open tags", "<b><i>a", "<strong><em>a</em></strong>"],
  ["tags out of their places", "<li>a</li><td>b</td>", "a\n\nb"],
])("HTML of any origin is shown without what is not allowed: %s", (_, html, shown) => {
  expect(walkHtml(html, OURS)?.html).toBe(shown);
});

test("a link and a mention in a link are text of that link", () => {
  const inner = '<span><a href="https://b.org/">b</a></span>';
  expect(walkHtml(`<a href="https://a.org/">a${inner}</a>`, OURS)?.html.match(/<a /g)).toHaveLength(1);
});

test("beyond the limits nothing of the HTML is shown", () => {
  expect(walkHtml("<b>".repeat(LIMITS.depth + 1), OURS)).toBeNull();
  expect(walkHtml("<br>".repeat(LIMITS.tags + 1), OURS)).toBeNull();
  expect(walkHtml("x".repeat(LIMITS.bytes + 1), OURS)).toBeNull();
  expect(walkHtml("&".repeat(LIMITS.bytes / 4), OURS)).toBeNull();
});

const ALLOWED =
  /^(p|br|strong|em|del|code|pre|blockquote|ul|ol|li|hr|h[1-6]|table|thead|tbody|tr|th|td|a|span)$/;
const HREF = /^(https?:|mailto:)/;

/** What stands in some HTML and may not. */
function faults(nodes: readonly HtmlNode[]): string[] {
  return nodes.flatMap((node) => {
    if (typeof node === "string") return [];
    const { tag, attributes, children } = node;
    const wrong = Object.entries(attributes).filter(([name, value]) => {
      if (tag === "a") return name === "href" ? !HREF.test(value) : name !== "rel";
      if (tag === "span") return name !== "data-mention" && name !== "data-spoiler";
      return tag !== "code" || name !== "class" || !value.startsWith("language-");
    });
    const own = ALLOWED.test(tag) ? [] : [tag];
    return [...own, ...wrong.map(([name]) => `${tag} ${name}`), ...faults(children)];
  });
}

const PIECES = [
  ..."<>&\"'/=[]()*_`~#!\n \\@".split(""),
  ...[
    "<b>",
    "</b>",
    "<p>",
    "<a href=",
    "javascript:",
    "https://a.org",
    "<script>",
    "</script>",
    "<!--",
    "-->",
    "onclick=x",
  ],
  ...[
    "<table>",
    "<tr>",
    "<td>",
    "<li>",
    "<span data-mention=ada>",
    "@ada",
    "ada",
    "&lt;",
    "&#60;",
    "<svg>",
    "<style>",
    "😀",
  ],
  ...["<textarea>", "<title>", "<![CDATA[", "<plaintext>", "<mx-reply>", "</span>", "</a>"],
];
const markup = fc.array(fc.constantFrom(...PIECES), { maxLength: 60 }).map((pieces) => pieces.join(""));

test("any text, as Markdown and as HTML, becomes HTML of the allowed tags alone, which stays as it is", () => {
  fc.assert(
    fc.property(markup, (text) => {
      for (const html of [renderMarkdown(text, names), walkHtml(text, OURS)?.html ?? null]) {
        if (html === null) continue;
        expect(faults(parseHtml(html) ?? [])).toEqual([]);
        expect(walkHtml(html, OURS)?.html).toBe(html);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("no text of the largest size keeps a process busy", () => {
  const size = 10_000;
  const bombs = [
    "[",
    "![",
    "*a ",
    "_a__",
    "`a",
    "<",
    "<a:",
    "> ",
    "- ",
    "[](",
    "@ada",
    "https://a.b ",
    "\\[",
    "&amp;",
    "**a*",
  ];
  const many = new Map(Array.from({ length: 50 }, (_, index) => [`a${index}`, "A"]));
  for (const bomb of bombs) {
    const startedAtMs = performance.now();
    renderMarkdown(bomb.repeat(size / bomb.length), many);
    // Some thousand times longer than a text of this size takes would be a matter of its square.
    expect(performance.now() - startedAtMs).toBeLessThan(2_000);
  }
});
