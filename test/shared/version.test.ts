import { expect, test } from "@jest/globals";
import { VERSION } from "../../shared/platform/version.ts";
import { readRoot } from "../deploy/compose-file.ts";

test("the version of the program is that of package.json", () => {
  expect(JSON.parse(readRoot("package.json"))).toMatchObject({ version: VERSION });
});
