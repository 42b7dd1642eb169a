import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { lastBundle, lastBundleKeeper } from "../../../node/last-bundle.ts";
import { BUNDLE_BYTES_MAX } from "../../../policy/defaults.ts";
import { comesTrue } from "../../support/comes-true.ts";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "altrace-last-bundle-"));
  onTestFinished(() => rmSync(made, { recursive: true }));
  return made;
}

const kept = (at: string) => lastBundle(at)?.toString();

test("the last bundle that came into force is there for whoever takes the node's place", async () => {
  const home = folder();
  const onFault = vi.fn();
  const keep = lastBundleKeeper(home, onFault);
  expect(lastBundle(home)).toBeUndefined();
  for (const text of ["one", "another", "the last"]) keep(Buffer.from(text));
  await comesTrue(() => expect(kept(home)).toBe("the last"));
  expect(onFault).not.toHaveBeenCalled();
  const [name = ""] = readdirSync(home);
  expect(statSync(join(home, name)).mode & 0o077).toBe(0);
});

test("what is larger than a bundle may be is not read", async () => {
  const home = folder();
  lastBundleKeeper(home, () => undefined)(Buffer.from("one"));
  await comesTrue(() => expect(kept(home)).toBe("one"));
  truncateSync(join(home, readdirSync(home)[0] ?? ""), BUNDLE_BYTES_MAX + 1);
  expect(lastBundle(home)).toBeUndefined();
});

test("one that cannot be kept is told, and the next one is tried", async () => {
  const home = join(folder(), "gone");
  const onFault = vi.fn();
  const keep = lastBundleKeeper(home, onFault);
  keep(Buffer.from("one"));
  keep(Buffer.from("another"));
  await comesTrue(() => expect(onFault).toHaveBeenCalledTimes(2));
});
