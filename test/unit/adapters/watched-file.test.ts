import fs, { renameSync, rmSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { afterAll, afterEach, expect, test, vi } from "vitest";
import { fileWatch, WATCHED_EVERY_MS } from "../../../adapters/watched-file.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";

const folder = tempDir();
afterAll(() => folder[Symbol.dispose]());
const path = join(folder.path, "file");
afterEach(() => rmSync(path, { force: true }));

function watched(text: string) {
  writeFileSync(path, text);
  const clock = twinClock();
  const heard: string[] = [];
  const stop = fileWatch(clock)({
    path,
    onChange: (bytes) => heard.push(Buffer.from(bytes).toString()),
    onProblem: (detail) => heard.push(`problem ${detail.slice(0, 6)}`),
  });
  const pass = (turns: number): void => {
    for (let turn = 0; turn < turns; turn += 1) clock.advance(WATCHED_EVERY_MS);
  };
  return { heard, stop, pass };
}

test("a file that has changed is read once it stands still, and not before", () => {
  const { heard, stop, pass } = watched("one");
  pass(3);
  expect(heard.splice(0)).toEqual(["one"]);
  writeFileSync(path, "second");
  pass(1);
  writeFileSync(path, "second and third");
  pass(1);
  expect(heard).toEqual([]);
  pass(3);
  expect(heard).toEqual(["second and third"]);
  stop();
  writeFileSync(path, "fourth");
  pass(3);
  expect(heard).toHaveLength(1);
});

test("one that is put in another's place is another, though it is as long", () => {
  const { heard, pass } = watched("one");
  pass(1);
  const next = join(folder.path, "next");
  writeFileSync(next, "two");
  renameSync(next, path);
  pass(2);
  expect(heard).toEqual(["one", "two"]);
});

test("one that is gone is told once, and read when it is back", () => {
  const { heard, pass } = watched("one");
  rmSync(path);
  pass(3);
  expect(heard).toEqual(["problem ENOENT"]);
  writeFileSync(path, "back again");
  pass(2);
  expect(heard.at(-1)).toBe("back again");
});

test("one that cannot be read is told once, and read when it can be, though nothing shows in its times", () => {
  const { heard, pass } = watched("one");
  const read = vi.spyOn(fs, "readFileSync").mockImplementation(() => {
    throw new Error("EMFILE");
  });
  syncBuiltinESMExports();
  pass(3);
  read.mockRestore();
  syncBuiltinESMExports();
  expect(heard).toEqual(["problem EMFILE"]);
  pass(2);
  expect(heard.slice(1)).toEqual(["one"]);
});
