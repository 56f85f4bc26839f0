import { expect, test } from "@jest/globals";
import { isDbUnavailable } from "../../shared/db/connection/failures.ts";

const withCode = (code: string) => Object.assign(new Error("it failed"), { code });

test.each([
  ["a refused connection", withCode("ECONNREFUSED")],
  ["a server that shuts down", withCode("57P01")],
  ["a server that starts", withCode("57P03")],
  ["a connection that was closed before it was written to", withCode("ERR_STREAM_DESTROYED")],
  ["a connection that ended", new Error("Connection terminated unexpectedly")],
  ["a connection that the pool gave out closed", new Error("Client was closed and is not queryable")],
  ["a greeting that took too long", new Error("timeout expired")],
  ["a transaction whose connection is gone", new Error("Invalid connection for transaction query.")],
  ["the same behind its statement", new Error("select 1 - Connection terminated unexpectedly")],
])("%s is Postgres being away, not a fault of ours", (_what, error) => {
  expect(isDbUnavailable(error)).toBe(true);
});

test.each([
  ["a broken rule of a table", withCode("23505")],
  ["a statement that is wrong", withCode("42601")],
  ["a fault of the program", new TypeError("x is not a function")],
])("%s is not Postgres being away", (_what, error) => {
  expect(isDbUnavailable(error)).toBe(false);
});
