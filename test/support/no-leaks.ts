import { afterEach } from "@jest/globals";
import { countHeldConnections } from "./open-pools.ts";
import { until } from "./wait.ts";

// A transaction that is never ended keeps its connection: the test that began it fails.
afterEach(async () => {
  await until(() => countHeldConnections() === 0, "every database connection is released", 3_000);
});
