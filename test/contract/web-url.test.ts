import { expect, test } from "@jest/globals";
import { webUrl } from "../../shared/contract/web-url.ts";

test.each([
  "https://example.org/ada.png",
  "http://example.org",
  "HTTPS://Example.ORG/",
  "https://example.org:8443/a/b.png?size=64&v=%20#top",
  "https://example.org?x=1",
  "https://example.org./a",
  "https://a_b.xn--mnchen-3ya.de/a.png",
  "http://localhost:3000/a.png",
  "http://127.0.0.1/a.png",
  "https://example.org/jos\u00e9.png",
  "https://example.org/@ada/a:b.png",
  "https://example.org/(a)'*[1].png",
  "https://example.org:65535/",
])("%s is a URL, also to a browser", (text) => {
  expect([webUrl.test(text), URL.canParse(text)]).toEqual([true, true]);
});

test.each([
  ["a space", "https://example.org/a b.png"],
  ["a space in front", " https://example.org/a.png"],
  ["a space behind", "https://example.org/a.png "],
  ["a tab", "https://example.org/a\tb.png"],
  ["a tab in the scheme", "ht\ttps://example.org/a.png"],
  ["a newline", "https://example.org/a\nb.png"],
  ["a newline behind", "https://example.org/a.png\n"],
  ["a no-break space", "https://example.org/a\u00a0b.png"],
  ["an ideographic space", "https://example.org/a\u3000b.png"],
  ["a mark of direction", "https://example.org/\u202egnp.exe"],
  ["an invisible character", "https://example.org/a\u200bb.png"],
  ["a backslash", "https://example.org/a\\b.png"],
  ["backslashes for slashes", "https:\\\\example.org\\a.png"],
  ["a backslash before another host", "https://example.org\\@evil.example/a.png"],
  ["credentials", "https://ada:secret@example.org/a.png"],
  ["a user", "https://ada@example.org/a.png"],
  ["an empty user", "https://@example.org/a.png"],
  ["a double quote", 'https://example.org/a".png'],
  ["an angle bracket", "https://example.org/<b>.png"],
  ["a backtick", "https://example.org/`.png"],
  ["a brace", "https://example.org/{a}.png"],
  ["no host", "https:///a.png"],
  ["no slashes", "https:example.org/a.png"],
  ["one slash", "https:/example.org/a.png"],
  ["another scheme", "ftp://example.org/a.png"],
  ["a script", "javascript:alert(1)"],
  ["data", "data:image/png;base64,AA=="],
  ["a path alone", "/a.png"],
  ["a port that is too high", "https://example.org:65536/a.png"],
  ["a port that is no number", "https://example.org:x/a.png"],
  ["an address that is too high", "https://256.1.1.1/a.png"],
  ["a host in hexadecimal", "https://0x7f000001/a.png"],
  ["a host as one number", "https://2130706433/a.png"],
  ["an escaped host", "https://example%2eorg/a.png"],
  ["nothing", ""],
])("%s is refused: %j", (_title, text) => {
  expect(webUrl.test(text)).toBe(false);
});
