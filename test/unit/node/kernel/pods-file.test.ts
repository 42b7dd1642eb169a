import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { podsFromFile } from "../../../../node/kernel/pods-file.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { tempDir } from "../../../support/temp-dir.ts";
import { waitUntil } from "../../../support/wait-until.ts";

/** More than any of these tests should hear. */
const TOLD_MAX = 10;

function listed() {
  const folder = tempDir();
  onTestFinished(() => folder[Symbol.dispose]());
  const file = join(folder.path, "list.json");
  const put = (text: string) => {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  };
  const list = (...names: readonly string[]) =>
    put(
      JSON.stringify(
        names.map((name, no) => ({ name, agent: "t/a", addresses: [`10.0.0.${no + 1}`] })),
      ),
    );
  list("one");
  const told: (readonly string[])[] = [];
  const faults: string[] = [];
  const clock = twinClock();
  const source = podsFromFile({ file, clock, onFault: (what) => faults.push(what) });

  onTestFinished(() => source.stop());
  source.start((pods) => {
    told.push(pods.map(({ name }) => name));
    // Said beside the list itself, as an enforcer does whose gate is in that folder.
    if (told.length < TOLD_MAX) writeFileSync(join(folder.path, "pods.json"), String(told.length));
  });
  return { put, list, told, faults, source, clock, folder: folder.path };
}

test("a list is told once, and again when it is another one, whatever else is written beside it", async () => {
  const { list, told } = listed();
  list("one", "two");
  await waitUntil("the second list", () => told.some(({ length }) => length === 2));
  list("three");
  await waitUntil("the third list", () => told.some(([name]) => name === "three"));
  expect(told).toEqual([["one"], ["one", "two"], ["three"]]);
});

test("of a list that cannot be read it is told why, and the one before stands", async () => {
  const { put, list, told, faults, source } = listed();
  put("{");
  await waitUntil("a fault", () => faults.length > 0);
  expect(source.staleBecause()).toContain("list.json");
  list("two");
  await waitUntil("the next list", () => told.length > 1);
  expect(told).toEqual([["one"], ["two"]]);
  expect(source.staleBecause()).toBeUndefined();
});

test("a list in a folder that was put in the place of the watched one is found", async () => {
  const { list, told, clock, folder } = listed();
  renameSync(folder, `${folder}-before`);
  onTestFinished(() => rmSync(`${folder}-before`, { recursive: true }));
  mkdirSync(folder);
  list("two");
  clock.advance(2_000);
  expect(told).toEqual([["one"], ["two"]]);
  list("three");
  clock.advance(2_000);
  expect(told.at(-1)).toEqual(["three"]);
});
