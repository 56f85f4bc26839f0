import { expect, test } from "@jest/globals";
import { parseOptions } from "../../bench/options.ts";

const NUMBERS = {
  messages: { otherwise: 40, from: 1, to: 100 },
  pause: { otherwise: 60, from: 0, to: 1_000 },
};

test("a bench's numbers are what they are without being told, or what was asked", () => {
  expect(parseOptions([], NUMBERS)).toEqual({ messages: 40, pause: 60, json: false });
  expect(parseOptions(["--messages", "100", "--pause=0", "--json"], NUMBERS)).toEqual({
    messages: 100,
    pause: 0,
    json: true,
  });
});

test.each([
  ["0", "--messages takes a whole number from 1 to 100"],
  ["101", "--messages takes a whole number from 1 to 100"],
  ["1.5", "--messages takes a whole number from 1 to 100"],
  ["many", "--messages takes a whole number from 1 to 100"],
  ["", "--messages takes a whole number from 1 to 100"],
])("%p messages are refused in words", (text, message) => {
  expect(() => parseOptions(["--messages", text], NUMBERS)).toThrow(new Error(message));
});

test("each number that is wrong is named", () => {
  expect(() => parseOptions(["--messages", "0", "--pause", "-1"], NUMBERS)).toThrow(/argument is ambiguous/);
  expect(() => parseOptions(["--messages=0", "--pause=-1"], NUMBERS)).toThrow(
    new Error("--messages takes a whole number from 1 to 100\n--pause takes a whole number from 0 to 1000"),
  );
});

test.each([[["--mesages", "3"]], [["3"]], [["--messages"]]])("%p is refused", (args) => {
  expect(() => parseOptions(args, NUMBERS)).toThrow(/--|argument/);
});
