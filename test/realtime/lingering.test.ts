import { expect, test } from "@jest/globals";
import { Lingering } from "../../realtime/transport/lingering.ts";
import { waitFor } from "../support/centrifuge.ts";

test("sockets that linger end in their order, each after the same time", async () => {
  const lingering = new Lingering(30);
  const ended: string[] = [];
  lingering.add(() => ended.push("first"));
  lingering.add(() => {
    ended.push("second");
    lingering.add(() => ended.push("third"));
  });
  expect(ended).toEqual([]);
  await waitFor(() => ended.length === 3);
  expect(ended).toEqual(["first", "second", "third"]);
});
