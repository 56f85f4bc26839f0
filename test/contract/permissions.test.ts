import { describe, expect, test } from "@jest/globals";
import {
  isAllowed,
  isAllowedOver,
  permissions,
  standingsAllowed,
  type Permission,
  type Standing,
} from "../../shared/contract/permissions.ts";
import { role, type Role } from "../../shared/contract/roles.ts";

/** The table as it is documented: roles from left to right, `x` for allowed. */
const TABLE: [Permission, string][] = [
  ["read", "x x x x x x"],
  ["post", "x x x x x -"],
  ["edit own", "x x x x x -"],
  ["react", "x x x x x -"],
  ["type", "x x x x x -"],
  ["send receipts", "x x x x x -"],
  ["delete own", "x x x x x -"],
  ["delete any", "x x x - - -"],
  ["mention the room", "x x x - - -"],
  ["pin", "x x x - - -"],
  ["add people", "x x x - - -"],
  ["mute", "x x x - - -"],
  ["remove", "x x x - - -"],
  ["ban", "x x x - - -"],
  ["describe", "x x - - - -"],
  ["give roles", "x x - - - -"],
  ["post without waiting", "x x x - - -"],
];

/** Where speakers alone post. */
const AMONG_SPEAKERS: Partial<Record<Permission, string>> = {
  post: "x x x x - -",
  "edit own": "x x x x - -",
};

function cells(row: string): boolean[] {
  return row.split(" ").map((cell) => cell === "x");
}

test("the table has a row for each permission", () => {
  expect(TABLE.map(([permission]) => permission)).toEqual(permissions);
});

describe.each(TABLE)("the permission to %s", (permission, row) => {
  test.each(["everyone", "speakers"] as const)(
    "is held by exactly the roles of the table where posting=%s",
    (posting) => {
      const expected = cells(posting === "speakers" ? (AMONG_SPEAKERS[permission] ?? row) : row);
      expect(role.options.map((name) => isAllowed(`${posting} ${name}`, permission))).toEqual(expected);
    },
  );
});

test.each<[Standing, Permission[]]>([
  ["muted", ["read", "send receipts"]],
  ["blocked", ["read", "delete own"]],
])("a member who is %s keeps only what does not write", (standing, kept) => {
  expect(permissions.filter((permission) => isAllowed(standing, permission))).toEqual(kept);
  expect(permissions.filter((permission) => standingsAllowed(permission).includes(standing))).toEqual(kept);
});

const OVER: Permission[] = ["mute", "remove", "ban", "give roles"];
test.each(OVER.flatMap((permission) => role.options.map((name) => [permission, name] as const)))(
  "the permission to %s reaches only below the role of a %s",
  (permission, name) => {
    const below = role.options.slice(role.options.indexOf(name) + 1);
    const standing: Standing = `everyone ${name}`;
    const expected: Role[] = isAllowed(standing, permission) ? below : [];
    expect(role.options.filter((other) => isAllowedOver(standing, permission, other))).toEqual(expected);
    expect(role.options.some((other) => isAllowedOver("muted", permission, other))).toBe(false);
  },
);

test("nobody has a permission that there is not", () => {
  expect(standingsAllowed(null)).toEqual([]);
});
