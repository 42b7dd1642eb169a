import { chownSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fileKeys } from "../../../adapters/file-keys.ts";
import { runHere } from "../../support/run-here.ts";
import { tempDir } from "../../support/temp-dir.ts";

const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

const hexOf = (publicKey: Uint8Array) => `${Buffer.from(publicKey).toString("hex")}\n`;

describe("a node's next key", () => {
  test("is made beside the one that the node has made, and is the newest then", async () => {
    using home = tempDir();
    const keys = fileKeys(join(home.path, "node", "keys"));
    const first = keys.loadOrCreate("node");
    const show = (...words: string[]) =>
      runHere("trust", "key", "node", ...words, "--home", home.path);
    expect((await show()).stdout).toBe(hexOf(first.publicKey));
    const next = await show("--next");
    expect(next.stdout).toBe(hexOf(keys.load("node-2")?.publicKey ?? Buffer.of()));
    expect((await show()).stdout).toBe(next.stdout);
  });

  test("is made nowhere but where a node has started: its operator would name a key that it does not have", async () => {
    using home = tempDir();
    const missing = join(home.path, "missing");
    for (const words of [[home.path], [home.path, "--next"], [missing]]) {
      const refused = await runHere("trust", "key", "node", "--home", ...words);
      expect(refused).toMatchObject({
        code: 1,
        stdout: "",
        stderr: expect.stringContaining("no node"),
      });
    }
    expect(readdirSync(home.path)).toEqual([]);
  });

  test.runIf(isRoot)(
    "belongs to the node's user where root asks, and root stays root",
    async () => {
      using home = tempDir();
      const folder = join(home.path, "node", "keys");
      fileKeys(folder).loadOrCreate("node");
      for (const path of [home.path, join(home.path, "node"), folder, join(folder, "node.key")]) {
        chownSync(path, NOBODY, NOBODY);
      }
      const { code, stderr } = await runHere("trust", "key", "node", "--next", "--home", home.path);
      expect([code, stderr]).toEqual([0, ""]);
      const { uid, gid, mode } = statSync(join(folder, "node-2.key"));
      expect([uid, gid, mode & 0o777]).toEqual([NOBODY, NOBODY, 0o600]);
      expect([process.geteuid?.(), process.getegid?.()]).toEqual([0, 0]);
    },
  );
});
