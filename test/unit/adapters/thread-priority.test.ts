import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

type Seen = {
  readonly told: { readonly way: string; readonly niceness: number };
  readonly own: number;
  readonly all: readonly number[];
};

function prefer(...words: readonly string[]): Seen {
  const file = fileURLToPath(new URL("./prefer-a-thread.ts", import.meta.url));
  return JSON.parse(execFileSync(process.execPath, [file, ...words], { encoding: "utf8" })) as Seen;
}

const isRoot = process.getuid?.() === 0;

describe.runIf(process.platform === "linux")("the preferred thread", () => {
  test.runIf(isRoot)("is raised alone where the process may, the common pool included", () => {
    const { told, own, all } = prefer();
    expect(told).toEqual({ way: "raised", niceness: -10 });
    expect(own).toBe(-10);
    expect(all.filter((niceness) => niceness === -10)).toEqual([-10]);
    expect(all.length).toBeGreaterThan(4);
  });

  test("is what all others yield to where it may not be raised", () => {
    const { told, own, all } = prefer("nobody");
    expect(told.way).toBe("others_lowered");
    const others = [...all];
    others.splice(others.indexOf(own), 1);
    expect(Math.min(...others)).toBeGreaterThan(own);
  });
});
