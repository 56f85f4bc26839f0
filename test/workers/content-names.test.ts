import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { fromMatrix, type EventPeople } from "../../workers/matrix/content/index.ts";

const bob = { matrixUserId: "@oc_acme_bob:hs.test", user: "bob", name: "Bob & Co" };
const PEOPLE: EventPeople = {
  find: (id) => (id === bob.matrixUserId ? bob : undefined),
  mayMentionRoom: false,
};
const BOB = '<span data-mention="bob">@Bob &amp; Co</span>';

function read(body: string, html?: string) {
  const formatted = html === undefined ? {} : { format: "org.matrix.custom.html", formatted_body: html };
  const content = { msgtype: "m.text", body, ...formatted };
  const event = {
    event_id: "$e",
    type: "m.room.message",
    sender: "@eve:far.test",
    origin_server_ts: 0,
    content,
  };
  return fromMatrix(event, PEOPLE)?.content;
}

test.each([
  ["of a person of ours", "hi @oc_acme_bob:hs.test!", "hi @Bob & Co!", `hi ${BOB}!`],
  [
    "that begins like that of a person",
    "@oc_acme_bob:hs.test2 and @oc_acme_bob:hs.test",
    "@someone and @Bob & Co",
    `@someone and ${BOB}`,
  ],
  ["in a link", "see https://matrix.to/#/%40oc_acme_bob%3Ahs.test <", "see @Bob & Co <", `see ${BOB} &lt;`],
])("a Matrix id %s in a plain text is shown as a name", (_what, body, text, html) => {
  expect(read(body)).toEqual({ kind: "text", text, html, mentions: { users: ["bob"], room: false } });
});

test("a room's id, alias or link in a text is hidden", () => {
  const room = `!${"r".repeat(43)}`;
  expect(
    read(`see ${room}, !r:far.test, #alias:far.test or https://matrix.to/#/${room}/$e?via=far.test`),
  ).toEqual({
    kind: "text",
    text: "see #room, #room, #room or #room",
  });
  expect(
    read("x", '<a href="https://matrix.to/#/!r:far.test">https://matrix.to/#/!r:far.test</a>'),
  ).toMatchObject({ html: "#room" });
});

test("what only looks like a Matrix id stays as it is written", () => {
  for (const text of [
    "lunch @10:30",
    "mail a@b:c.org",
    "@bob: hello",
    "@ada and @",
    "no!",
    "#1: go",
    "!important: x.y",
  ])
    expect(read(text)).toEqual({ kind: "text", text });
  expect(read("ask @mallory:far.test")).toEqual({ kind: "text", text: "ask @someone" });
});

test.each([
  ["a pill of a person of ours", '<a href="https://matrix.to/#/@oc_acme_bob:hs.test">Bob</a>', BOB],
  [
    "a pill of an unknown person",
    '<a href="https://matrix.to/#/%40mallory%3Afar.test">Mallory</a>',
    "Mallory",
  ],
  ["a link to a room", '<a href="https://matrix.to/#/!r:far.test">the room</a>', "the room"],
  ["an id that is cut by character references", "@mallory&#58;far&period;test", "@someone"],
  [
    "another site's address that names a person",
    '<a href="https://app.example/#/user/@mallory:far.test">M</a>',
    "M",
  ],
  [
    "an encoded address that names a person",
    '<a href="https://app.example/%40mallory%3Afar.test">M</a>',
    "M",
  ],
  [
    "the reason of a spoiler",
    '<span data-mx-spoiler="by @mallory:far.test">x</span>',
    '<span data-spoiler="by @someone">x</span>',
  ],
  ["a mention that the sender has made up", '<span data-mention="ada">@ada</span>', "@ada"],
])("HTML from Matrix shows no Matrix id: %s", (_what, html, shown) => {
  expect(read("x", html)).toMatchObject({ html: shown });
});

test("wherever a Matrix id stands in a text or its HTML, it does not leave the server", () => {
  const id = fc.constantFrom(
    "@mallory:far.test",
    "@oc_acme_bob:hs.test",
    "&#64;mallory:far.test",
    "https://matrix.to/#/@mallory:far.test",
  );
  const piece = fc.oneof(
    { weight: 3, arbitrary: id },
    fc.constantFrom(
      " ",
      "\n",
      "<b>",
      "</b>",
      "<a href='",
      "'>",
      "</a>",
      "<span data-mx-spoiler='",
      "<code>",
      "</code>",
      "&amp;",
      "@",
      ":",
      "(",
      "x ",
    ),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      // In a plain text a character reference is what it says.
      const plain = pieces.join(" ").replaceAll("&#64;", "@");
      const written = JSON.stringify([read(plain), read("x", pieces.join(" "))]);
      expect(written).not.toMatch(/mallory:far|oc_acme_bob:hs/);
    }),
    { numRuns: 2_000 },
  );
});
