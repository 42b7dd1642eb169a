import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { NODE } from "../../support/run-altrace.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const REF = "pkg:npm/sodium-native@5.1.0";

function completed(bill: object) {
  const args = [join(ROOT, "scripts", "complete-bill.js")];
  const done = spawnSync(NODE, args, { input: JSON.stringify(bill), encoding: "utf8" });
  return { ...done, bill: done.status === 0 ? JSON.parse(done.stdout) : undefined };
}

test("the bill names libsodium, as it lies in the package's binary, and NOTICE has its licence", () => {
  const { bill } = completed({
    components: [{ "bom-ref": REF, name: "sodium-native", version: "5.1.0" }],
    dependencies: [{ ref: REF, dependsOn: ["some"] }],
  });
  const [, { name, version, licenses, "bom-ref": ref }] = bill.components;
  expect({ name, licenses }).toEqual({
    name: "libsodium",
    licenses: [{ license: { id: "ISC" } }],
  });
  expect(bill.dependencies).toEqual([
    { ref: REF, dependsOn: ["some", ref] },
    { ref, dependsOn: [] },
  ]);
  const folder = dirname(createRequire(import.meta.url).resolve("sodium-native/package.json"));
  const binary = join(folder, "prebuilds", "linux-x64", "sodium-native.node");
  expect(readFileSync(binary).includes(`\0${version}\0`)).toBe(true);
  const notice = readFileSync(join(ROOT, "NOTICE"), "utf8");
  expect(notice).toContain(`libsodium ${version}, in the binaries of sodium-native`);
  expect(notice).toContain("Frank Denis");
});

test("a bill without the package, or that says nothing of what it needs, is refused", () => {
  expect(completed({ components: [], dependencies: [] }).stderr).toContain("no sodium-native");
  const components = [{ "bom-ref": REF, name: "sodium-native" }];
  expect(completed({ components, dependencies: [] }).stderr).toContain("depends on");
});
