import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { holdInstance } from "../../adapters/instance-lock.ts";
import { freePortBase } from "../../bench/harness/free-ports.ts";
import { runAltrace } from "../support/run-altrace.ts";
import { tempDir } from "../support/temp-dir.ts";

const COMMANDS: { readonly [name: string]: readonly string[] } = {
  up: ["up"],
  coordinator: ["coordinator", "--nats-url", "nats://127.0.0.1:1"],
};

async function run(words: readonly string[], home: string) {
  const base = String(await freePortBase());
  return runAltrace([...words, "--home", home, "--port-base", base]);
}

describe.each(Object.entries(COMMANDS))("altrace %s", (_name, words) => {
  test("makes neither keys nor a mesh in a HOME that another process holds", async () => {
    using dir = tempDir();
    const home = join(dir.path, "home");
    mkdirSync(home, { mode: 0o700 });
    const lock = await holdInstance({ home, socketPaths: [], ports: [] });
    const { code, stderr } = await run(words, home);
    await lock.release();
    expect(stderr).toContain("home_in_use");
    expect(code).toBe(1);
    expect(readdirSync(home)).toEqual([]);
  });

  test("makes nothing in a HOME that others may read", async () => {
    using dir = tempDir();
    const home = join(dir.path, "home");
    mkdirSync(home, { mode: 0o755 });
    const { code, stderr } = await run(words, home);
    expect(stderr).toContain("0700");
    expect(code).toBe(1);
    expect(readdirSync(home)).toEqual([]);
    expect(statSync(home).mode & 0o777).toBe(0o755);
  });
});
