import { describe, expect, test } from "@jest/globals";
import { Unavailable } from "../../stack/machine/fault.mjs";
import { chooseSource, listSources } from "../../stack/servers/sources.mjs";

const found = (text: string) => () => Promise.resolve({ text, value: text });
const missing = (reason: string) => () => Promise.reject(new Unavailable(reason));

function choose(
  env: NodeJS.ProcessEnv,
  sources: Partial<
    Record<"url" | "embedded" | "system" | "apt", () => Promise<{ text: string; value: string }>>
  >,
) {
  const lines: string[] = [];
  const none = missing("not here");
  const all = { url: none, embedded: none, system: none, apt: none, ...sources };
  const chosen = chooseSource({
    server: "redis",
    env,
    log: (line: string) => lines.push(line),
    sources: all,
  });
  return { chosen, lines };
}

describe("the source of a server", () => {
  test("is the first usable one, and each refusal is logged", async () => {
    const { chosen, lines } = choose({}, { system: found("Redis 7"), apt: found("Redis 8") });
    expect(await chosen).toBe("Redis 7");
    expect(lines).toEqual([
      "redis: not url: not here",
      "redis: not embedded: not here",
      "redis: using system: Redis 7",
    ]);
  });

  test("is the forced one alone", async () => {
    const { chosen, lines } = choose(
      { STACK_REDIS: "apt" },
      { embedded: found("embedded"), apt: found("apt") },
    );
    expect(await chosen).toBe("apt");
    expect(lines).toEqual(["redis: using apt: apt"]);
  });

  test("fails with every reason when none is usable", async () => {
    const { chosen } = choose({}, { embedded: missing("pip is offline") });
    await expect(chosen).rejects.toThrow(/url: not here[^]*embedded: pip is offline[^]*apt: not here/);
  });

  test("stops the start when it fails for another reason than being unavailable", async () => {
    const { chosen } = choose(
      {},
      { embedded: () => Promise.reject(new Error("a mistake")), system: found("Redis 7") },
    );
    await expect(chosen).rejects.toThrow("a mistake");
  });

  test("of an unknown name is wrong use, and the error names the allowed ones", () => {
    expect(() => listSources("postgres", { STACK_POSTGRES: "docker" })).toThrow(
      expect.objectContaining({
        exitCode: 2,
        message: 'STACK_POSTGRES is "docker"',
        advice: expect.stringContaining("url, embedded, system, apt"),
      }),
    );
  });
});
