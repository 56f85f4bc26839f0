import { expect, test } from "@jest/globals";
import { parseReplies } from "../../stack/servers/redis/redis-wire.mjs";

test("replies are read once they are whole", () => {
  const text = "+PONG\r\n*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n$-1\r\n:7\r\n";
  for (let length = 0; length < text.length; length += 1)
    expect(parseReplies(text.slice(0, length), 4)).toBeUndefined();
  expect(parseReplies(text, 4)).toEqual(["PONG", ["maxmemory-policy", "noeviction"], null, "7"]);
});

test("a refusal is an error among the replies", () => {
  expect(parseReplies("-NOPERM no\r\n+OK\r\n", 2)).toEqual([new Error("NOPERM no"), "OK"]);
});
