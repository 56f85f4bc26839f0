import { expect, test } from "@jest/globals";
import { parseOptions } from "../../bench/options.ts";

const NUMBERS = {
  messages: { otherwise: 40, from: 1, to: 100 },
  pause: { otherwise: 60, from: 0, to: 1_000 },
};

test("a number is its default, or what the option says", () => {
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
])("the value %p is refused with the range that is accepted", (text, message) => {
  expect(() => parseOptions(["--messages", text], NUMBERS)).toThrow(new Error(message));
});

test("the error names each wrong number", () => {
  expect(() => parseOptions(["--messages", "0", "--pause", "-1"], NUMBERS)).toThrow(/argument is ambiguous/);
  expect(() => parseOptions(["--messages=0", "--pause=-1"], NUMBERS)).toThrow(
    new Error("--messages takes a whole number from 1 to 100\n--pause takes a whole number from 0 to 1000"),
  );
});

test.each([[["--mesages", "3"]], [["3"]], [["--messages"]]])("the arguments %p are refused", (args) => {
  expect(() => parseOptions(args, NUMBERS)).toThrow(/--|argument/);
});

test("a choice is one of its words, or null without the option", () => {
  const choices = { kill: ["workers", "sync"] } as const;
  expect(parseOptions(["--kill", "sync"], NUMBERS, choices)).toMatchObject({ kill: "sync", messages: 40 });
  expect(parseOptions([], NUMBERS, choices).kill).toBeNull();
  expect(() => parseOptions(["--kill", "api"], NUMBERS, choices)).toThrow(
    new Error("--kill takes workers, sync"),
  );
});
