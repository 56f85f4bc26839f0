import { expect, test } from "@jest/globals";
import { isDbUnavailable } from "../../shared/db/connection/failures.ts";

const withCode = (code: string) => Object.assign(new Error("it failed"), { code });

test.each([
  ["a refused connection", withCode("ECONNREFUSED")],
  ["a server that shuts down", withCode("57P01")],
  ["a server that starts", withCode("57P03")],
  ["a connection that was closed before it was written to", withCode("ERR_STREAM_DESTROYED")],
  ["a connection that ended", new Error("Connection terminated unexpectedly")],
  ["a closed connection of the pool", new Error("Client was closed and is not queryable")],
  ["a handshake that took too long", new Error("timeout expired")],
  ["a transaction whose connection is gone", new Error("Invalid connection for transaction query.")],
  [
    "a lost connection in an error that begins with the statement",
    new Error("select 1 - Connection terminated unexpectedly"),
  ],
])("%s counts as an outage of Postgres", (_what, error) => {
  expect(isDbUnavailable(error)).toBe(true);
});

test.each([
  ["a violated constraint", withCode("23505")],
  ["a syntax error", withCode("42601")],
  ["a bug of the program", new TypeError("x is not a function")],
])("%s does not count as an outage of Postgres", (_what, error) => {
  expect(isDbUnavailable(error)).toBe(false);
});
