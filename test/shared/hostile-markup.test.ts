import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { eventBytes, MAX_EVENT_BYTES } from "../../shared/contract/content/size.ts";
import { nameMentions, splitMentions } from "../../shared/markup/mentions.ts";
import { parseHtml } from "../../shared/markup/parse.ts";
import { renderMarkdown, renderPlain } from "../../shared/markup/render.ts";
import { OURS, walkHtml } from "../../shared/markup/walk.ts";

const NAMES = new Map([
  ["ada", "Ada <L>"],
  ["ada.b", "Ada B"],
  ["user_1_x", "U"],
]);
const ADA = '<span data-mention="ada">@Ada &lt;L&gt;</span>';
const LINK = 'rel="nofollow noopener"';

test.each([
  ["emphasis", "**a** *b* ~~c~~ `d`", "<p><strong>a</strong> <em>b</em> <del>c</del> <code>d</code></p>"],
  [
    "HTML as text",
    "<b>x</b> <script>y</script>",
    "<p>&lt;b&gt;x&lt;/b&gt; &lt;script&gt;y&lt;/script&gt;</p>",
  ],
  [
    "an address with a scheme",
    "https://e.org/a?b&c",
    `<p><a href="https://e.org/a?b&amp;c" ${LINK}>https://e.org/a?b&amp;c</a></p>`,
  ],
  ["an address without one as text", "www.e.org ada@e.org", "<p>www.e.org ada@e.org</p>"],
  ["a link that runs code as text", "[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"],
  ["a picture as a link", "![i](https://e.org/i.png)", `<p>!<a href="https://e.org/i.png" ${LINK}>i</a></p>`],
  ["code with its language", "```js\n1 < 2\n```", '<pre><code class="language-js">1 &lt; 2\n</code></pre>'],
  ["a mention", "*hi @ada*", `<p><em>hi ${ADA}</em></p>`],
  ["the longest id", "@ada.b", '<p><span data-mention="ada.b">@Ada B</span></p>'],
  ["an id whose characters are Markdown", "@user_1_x", '<p><span data-mention="user_1_x">@U</span></p>'],
  [
    "an id in a word, in code and escaped as text",
    "x@ada @adam `@ada` \\@ada",
    "<p>x@ada @adam <code>@ada</code> @ada</p>",
  ],
])("Markdown is rendered with %s", (_what, text, html) => {
  expect(renderMarkdown(text, NAMES)).toBe(html);
});

test.each([
  ["unwraps unknown tags", "<font color=red>a</font><u>b</u>", "ab"],
  ["reads synonyms", "<b>a</b><i>b</i><strike>c</strike>", "<strong>a</strong><em>b</em><del>c</del>"],
  ["drops what is no text of the person", "<mx-reply>q</mx-reply><style>s</style><svg><p>v</p></svg>a", "a"],
  ["drops handlers, styles and unknown classes", '<p onclick="x" style="y" class="z">a</p>', "<p>a</p>"],
  ["drops pictures", '<img src=x onerror="alert(1)">', ""],
  [
    "unwraps links that run code, however they are written",
    '<a href="java\nscript:alert(1)">a</a><a href=" data:text/html,x">b</a>',
    "ab",
  ],
  ["closes what is open", "<p><em>a", "<p><em>a</em></p>"],
  [
    "keeps one link where another one is in it",
    '<a href="https://a.b">x<em><a href="https://c.d">y</a></em></a>',
    `<a href="https://a.b/" ${LINK}>x<em>y</em></a>`,
  ],
  ["unwraps parts of tables and lists that stand alone", "<li>a</li><td>b</td>", "a\n\nb"],
  [
    "escapes values of attributes",
    '<span data-spoiler="&quot;&gt;<script>">a</span>',
    '<span data-spoiler="&quot;&gt;&lt;script&gt;">a</span>',
  ],
  ["leaves spans without meaning away", '<span class="x">a</span>', "a"],
])("the writer of HTML %s", (_what, given, html) => {
  expect(walkHtml(given, OURS)?.html).toBe(html);
});

test("HTML beyond a limit is not shown: depth, tags, length", () => {
  expect(walkHtml("<em>".repeat(20) + "a", OURS)).not.toBeNull();
  expect(walkHtml("<em>".repeat(21) + "a", OURS)).toBeNull();
  expect(walkHtml("<em>a</em>".repeat(1_000), OURS)).not.toBeNull();
  expect(walkHtml("<em>a</em>".repeat(1_001), OURS)).toBeNull();
  expect(walkHtml("a".repeat(60_001), OURS)).toBeNull();
  expect(walkHtml("&".repeat(20_000), OURS)).toBeNull();
  expect(renderMarkdown(">".repeat(60) + "a", NAMES)).toBeNull();
  expect(renderMarkdown("[a]: https://e.org", NAMES)).toBeNull();
  expect(renderPlain("@ada ".repeat(2_000), NAMES)).toBeNull();
});

test("text that is cut by character references is read whole", () => {
  expect(parseHtml("@bob&#58;hs&period;test")).toEqual(["@bob:hs.test"]);
  const long = "x" + "🎉".repeat(5_000);
  expect(parseHtml(long)).toEqual([long]);
});

test("a plain text has HTML only with a mention", () => {
  expect(renderPlain("<b> & \n", NAMES)).toBeNull();
  expect(renderPlain("hi @ada\n<b>", NAMES)).toBe(`hi ${ADA}<br>&lt;b&gt;`);
  expect(splitMentions("@ada,@ada.b", NAMES)).toHaveLength(3);
  expect(nameMentions("@ada and x@ada", NAMES)).toBe("@Ada <L> and x@ada");
});

test("the size of an event counts each mention that stands in it, and an edit's text twice", () => {
  const html = renderPlain("@ada ".repeat(300), NAMES);
  const mentions = { users: ["ada"], room: false };
  expect(eventBytes({ text: "x", html, mentions })).toBeGreaterThan(MAX_EVENT_BYTES);
  expect(eventBytes({ text: "x".repeat(10_000) })).toBeLessThan(MAX_EVENT_BYTES);
  expect(
    eventBytes({ text: "x".repeat(10_000) }, { isEdit: true }) - eventBytes({ text: "x".repeat(10_000) }),
  ).toBe(10_002);
});

const TAGS =
  /^<(?:\/?(?:p|strong|em|del|pre|blockquote|ul|ol|li|h[1-6]|table|thead|tbody|tr|th|td)|br|hr|\/?code|code class="language-[\w+#.-]{1,40}"|\/?a|a href="(?:https?:|mailto:)[^"<>]*" rel="nofollow noopener"|\/span|span data-(?:mention|spoiler)="[^"<>]*")>$/;

function expectSafe(html: string): void {
  const tags = html.match(/<[^>]*>?/g) ?? [];
  for (const tag of tags) expect(tag).toMatch(TAGS);
  const open: string[] = [];
  for (const tag of tags) {
    const name = /\w+/.exec(tag)?.[0] ?? "";
    if (name === "br" || name === "hr") continue;
    if (tag.startsWith("</")) expect(open.pop()).toBe(name);
    else open.push(name);
  }
  expect(open).toEqual([]);
}

const PIECES = [
  ...[
    "<p>",
    "</p>",
    "<a href='https://a.b'>",
    '<a href="javascript:x">',
    "</a>",
    "<b>",
    "</b>",
    "<ul>",
    "<ol>",
    "<li>",
    "</li>",
    "</ul>",
  ],
  ...[
    "<table>",
    "<tbody>",
    "<tr>",
    "<td>",
    "<th>",
    "</td>",
    "</table>",
    "<pre>",
    "<code class='language-js'>",
    "</code>",
    "</pre>",
    "<h1>",
    "</h1>",
  ],
  ...[
    "<blockquote>",
    "</blockquote>",
    "<hr>",
    "<br/>",
    "<svg>",
    "<math>",
    "<style>",
    "</style>",
    "<script>",
    "</script>",
    "<mx-reply>",
    "</mx-reply>",
  ],
  ...[
    "<span data-mention='\"><x'>",
    "<span data-spoiler>",
    "</span>",
    "<div>",
    "</div>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<",
    ">",
    "&lt;",
    "&",
    '"',
    "'",
    "&#0;",
  ],
  ...[
    "<textarea>",
    "<title>",
    "<template>",
    "<plaintext>",
    "<noscript>",
    "<foreignObject>",
    "<select>",
    "<option>",
    "<x on=1 ",
    "=",
    "/",
    "\n",
    "a",
    "@ada",
  ],
];
const hostile = fc
  .array(fc.oneof(fc.constantFrom(...PIECES), fc.string({ maxLength: 5 })), { maxLength: 40 })
  .map((parts) => parts.join(""));

test("whatever HTML is read, only allowed tags are written, balanced; written again, nothing changes", () => {
  fc.assert(
    fc.property(hostile, (given) => {
      const once = walkHtml(given, OURS)?.html;
      if (once === undefined) return;
      expectSafe(once);
      expect(walkHtml(once, OURS)?.html).toBe(once);
    }),
    { numRuns: 3_000 },
  );
});

test("whatever Markdown is rendered, only allowed tags are written, balanced", () => {
  const pieces = [
    ...Array.from("*_~`[]()!<>#-+=|\\&:\n\t @"),
    "](",
    "https://a.b",
    "javascript:",
    "@ada",
    "@user_1_x",
    "```",
    "    ",
    "1. ",
    "<b>",
    "a",
    "&lt;",
    "mailto:a@b",
  ];
  const text = fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string({ unit: "grapheme", maxLength: 4 })), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(text, (parts) => {
      const html = renderMarkdown(parts.join(""), NAMES);
      if (html !== null) expectSafe(html);
    }),
    { numRuns: 3_000 },
  );
});

test.each([
  "[",
  "![",
  "[*",
  "*[",
  "**a ",
  "a**b",
  "`` ` ",
  "http://[",
  "<a@b.c>|\t",
  "> ",
  "- a\n  ",
  "@bob",
])("10,000 characters of %j cost little to render", (piece) => {
  const text = piece.repeat(10_000 / piece.length);
  const cost = () => {
    const before = process.cpuUsage();
    renderMarkdown(text, new Map([["bob", "Bob"]]));
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1_000;
  };
  expect(Math.min(cost(), cost(), cost())).toBeLessThan(100);
});
