import { expect, test } from "vitest";
import { LogFiles } from "../../../audit/log-files.ts";
import { TwinDisk } from "../node/audit/twin-disk.ts";

const HOME = "/home";
const BYTES = Buffer.from("x");

function setUp(dir = `${HOME}/log/e1`) {
  const disk = new TwinDisk();
  const files = new LogFiles(disk, { home: HOME, dir });
  /** Folders whose names were brought to the disk for these files. */
  const named = (...paths: string[]): readonly string[] => {
    const from = disk.steps.length;
    for (const path of paths) files.put(path, BYTES);
    files.settle(() => undefined);
    const steps = disk.steps.slice(from).filter((step) => step.startsWith("syncFolder "));
    return steps.map((step) => step.slice("syncFolder ".length)).sort();
  };
  return { files, named };
}

test("names are brought to the disk from a new folder up to one that is known, and no further", () => {
  const { named } = setUp();
  const above = ["/home", "/home/log", "/home/log/e1", "/home/log/e1/tile"];
  expect(named("tile/0/000.p/1")).toEqual([
    ...above,
    "/home/log/e1/tile/0",
    "/home/log/e1/tile/0/000.p",
  ]);
  expect(named("tile/0/000.p/2")).toEqual(["/home/log/e1/tile/0/000.p"]);
  expect(named("tile/0/001.p/1")).toEqual(["/home/log/e1/tile/0", "/home/log/e1/tile/0/001.p"]);
  expect(named("tile/1/000.p/1", "checkpoint")).toEqual([
    "/home/log/e1",
    "/home/log/e1/tile",
    "/home/log/e1/tile/1",
    "/home/log/e1/tile/1/000.p",
  ]);
});

test("a folder that was removed and is made anew is one whose name is new", () => {
  const { files, named } = setUp();
  named("tile/0/000.p/1");
  files.sweep("tile/0/000.p", () => true);
  expect(named("tile/0/000.p/2")).toEqual(["/home/log/e1/tile/0", "/home/log/e1/tile/0/000.p"]);
});

test("what is above the home is left alone", () => {
  expect(setUp(HOME).named("checkpoint")).toEqual(["/home"]);
});
