import { describe, expect, test } from "@jest/globals";
import {
  createClientAddresses,
  nameNetwork,
  networkOf,
  normalizeAddress,
} from "../../shared/auth/client-address.ts";

test.each([
  ["203.0.113.10", "203.0.113.10"],
  [" 203.0.113.10\t", "203.0.113.10"],
  ["203.0.113.10:4711", "203.0.113.10"],
  ["203.0.113.10:_port", "203.0.113.10"],
  ['"203.0.113.10:4711"', "203.0.113.10"],
  ["::ffff:203.0.113.10", "203.0.113.10"],
  ["::FFFF:cb00:710a", "203.0.113.10"],
  ["0000:0000:0000:0000:0000:ffff:cb00:710a", "203.0.113.10"],
  ["[::ffff:203.0.113.10]:4711", "203.0.113.10"],
  ["2001:DB8::1", "2001:db8::1"],
  ["2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"],
  ["2001:db8:0:0:0:0:0:1:4711", "2001:db8::1"],
  ["[2001:db8::1]", "2001:db8::1"],
  ["[2001:db8::1]:4711", "2001:db8::1"],
  ['"[2001:db8::1]:4711"', "2001:db8::1"],
  ["fe80::1%eth0", "fe80::1"],
  ["[fe80::1%25eth0]:80", "fe80::1"],
  ["::1", "::1"],
  ["", null],
  ["unknown", null],
  ["_hidden", null],
  ["_hidden:4711", null],
  ["localhost", null],
  ["example.org:80", null],
  ["203.0.113", null],
  ["203.0.113.256", null],
  ["203.0.113.010", null],
  ["3405803786", null],
  ["0xcb00710a", null],
  ["203.0.113.10 evil", null],
  ["203.0.113.10/24", null],
  ["[203.0.113.10]", null],
  ["[2001:db8::1", null],
  ["2001:db8::1]", null],
  ["2001:db8:::1", null],
  ["for=203.0.113.10", null],
])("the address %j is read as %j", (text, address) => {
  expect(normalizeAddress(text)).toBe(address);
});

const PROXY = "10.0.0.1";

describe("the client behind the proxies 10.0.0.0/8, loopback and 2001:db8:1::/48", () => {
  const addresses = createClientAddresses(["10.0.0.0/8", "loopback", "2001:db8:1::/48"]);

  test.each([
    ["a peer that is no proxy", "198.51.100.7", "203.0.113.10", "198.51.100.7"],
    ["a peer that is no proxy, without the header", "198.51.100.7", undefined, "198.51.100.7"],
    ["a proxy that names no client", PROXY, undefined, PROXY],
    ["a proxy with an empty header", PROXY, "", PROXY],
    ["a proxy's client", PROXY, "203.0.113.10", "203.0.113.10"],
    ["a port", PROXY, "203.0.113.10:4711", "203.0.113.10"],
    ["brackets and a port", PROXY, "[2001:db8::1]:4711", "2001:db8::1"],
    ["a zone", PROXY, "fe80::1%eth0", "fe80::1"],
    ["an IPv4 address as an IPv6 one", PROXY, "::ffff:203.0.113.10", "203.0.113.10"],
    ["unknown", PROXY, "unknown", PROXY],
    ["an obfuscated name", PROXY, "_hidden", PROXY],
    ["a name of a host", PROXY, "client.example", PROXY],
    ["an empty value behind the client's", PROXY, "203.0.113.10,", PROXY],
    ["values that the client made up", PROXY, "1.2.3.4, 5.6.7.8, 203.0.113.10", "203.0.113.10"],
    ["a made-up proxy before the client", PROXY, "10.9.9.9, 203.0.113.10", "203.0.113.10"],
    ["two proxies", PROXY, "203.0.113.10, 10.0.0.2", "203.0.113.10"],
    ["two proxies, of which the first has a port", PROXY, "203.0.113.10:1, 10.0.0.2:2", "203.0.113.10"],
    ["two proxies, and no address before them", PROXY, "unknown, 10.0.0.2", "10.0.0.2"],
    ["proxies alone", PROXY, "10.0.0.3, 10.0.0.2", "10.0.0.3"],
    [
      "a proxy on loopback, seen by a socket of both families",
      "::ffff:127.0.0.1",
      "203.0.113.10",
      "203.0.113.10",
    ],
    ["a proxy in a network of IPv6", "2001:db8:1:2::3", "203.0.113.10", "203.0.113.10"],
    ["a neighbour of that network", "2001:db8:2::3", "203.0.113.10", "2001:db8:2::3"],
    ["a peer without an address", undefined, "203.0.113.10", "unknown"],
  ])("%s", (_title, peer, forwardedFor, client) => {
    expect(addresses.read(peer, forwardedFor)).toBe(client);
    expect(addresses.isTrusted(peer)).toBe(
      peer !== undefined && peer !== "198.51.100.7" && peer !== "2001:db8:2::3",
    );
  });
});

test("without trusted proxies a client has its peer's address, whatever it sends", () => {
  const addresses = createClientAddresses([]);
  expect(addresses.read("::ffff:127.0.0.1", "203.0.113.10")).toBe("127.0.0.1");
  expect(addresses.isTrusted("127.0.0.1")).toBe(false);
});

test.each([
  ["203.0.113.10", "203.0.113.10"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["2001:db8:0:0:ffff::9", "2001:db8:0:0::/64"],
  ["2001:db8:0:1::1", "2001:db8:0:1::/64"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["::1", "0:0:0:0::/64"],
  ["::", "0:0:0:0::/64"],
])("the network of %s is %s", (address, network) => {
  expect(networkOf(address)).toBe(network);
});

test("a port that a proxy writes without brackets behind an abbreviated IPv6 address changes no network", () => {
  const networks = ["2001:db8:1:2::5:4711", "2001:db8:1:2::5:4712", "2001:db8:1:2::5"].map((text) =>
    networkOf(normalizeAddress(text) ?? ""),
  );
  expect(new Set(networks)).toEqual(new Set(["2001:db8:1:2::/64"]));
});

test("the name of a network shows no address", () => {
  expect(nameNetwork("203.0.113.10")).toMatch(/^[A-Za-z0-9_-]{22}$/);
  expect(nameNetwork("203.0.113.10")).not.toBe(nameNetwork("203.0.113.11"));
  expect(nameNetwork("2001:db8::1")).toBe(nameNetwork("2001:db8::2"));
});
