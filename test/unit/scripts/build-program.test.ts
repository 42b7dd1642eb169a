import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { BUILT, builtProgram, MANIFEST } from "../../../cli/built-program.js";
import { buildProgram } from "../../../scripts/program/build-program.ts";
import { cleanEnv, NODE } from "../../support/run-altrace.ts";
import { tempDir } from "../../support/temp-dir.ts";

const FILES = {
  "package.json": `{ "type": "module", "version": "7" }`,
  "lock.json": `{ "of": "all packages" }`,
  "node_modules/greeting/package.json": `{ "main": "index.js" }`,
  "node_modules/greeting/index.js": `exports.greeting = "good day";`,
  "cli/main.ts": `
    import { readFileSync } from "node:fs";
    import { once } from "node:events";
    import { Worker } from "node:worker_threads";
    import { greeting } from "greeting";
    const { version }: { version: string } = JSON.parse(
      readFileSync(new URL("../package.json", import.meta.url), "utf8"));
    const thread = new Worker(new URL("../far/thread.ts", import.meta.url));
    const [[said], { later }] = await Promise.all([once(thread, "message"), import("./later.ts")]);
    console.log(greeting, version, said, later);`,
  "cli/later.ts": `export const later: string = "later";`,
  "far/thread.ts": `
    import { parentPort, Worker } from "node:worker_threads";
    import { word } from "./word.ts";
    const inner = new Worker(new URL("./inner.ts", import.meta.url));
    inner.once("message", (said) => parentPort?.postMessage(word + said));`,
  "far/inner.ts": `
    import { parentPort } from "node:worker_threads";
    parentPort?.postMessage("&inner");`,
  "far/word.ts": `export const word = "thread";`,
};

/** Sources that were last changed a while ago, as those of a clone were when their packages have come. */
const EARLIER_S = 1_700_000_000;

const build = (root: string) => buildProgram({ root, main: "cli/main.ts", also: ["lock.json"] });
const found = (root: string) => builtProgram(pathToFileURL(`${root}/`));

function write(root: string, path: string, text: string, changedS = EARLIER_S): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
  utimesSync(join(root, path), changedS, changedS);
}

function sourcesIn(root: string, changedS?: number): void {
  for (const [path, text] of Object.entries(FILES)) write(root, path, text, changedS);
}

describe("a program that was built", () => {
  test("has its threads, and finds what lies beside its sources", async () => {
    using temp = tempDir();
    sourcesIn(temp.path);
    const program = await build(temp.path);
    expect(found(temp.path)).toBe(pathToFileURL(program).href);
    const said = execFileSync(NODE, [program], { env: cleanEnv(), encoding: "utf8" });
    expect(said).toBe("good day 7 thread&inner later\n");
  });

  const thread = FILES["far/word.ts"];
  test.each<readonly [string, (root: string) => void]>([
    ["has another size", (root) => write(root, "far/word.ts", `${thread}\n`)],
    [
      "has other words of the same size",
      (root) => write(root, "far/word.ts", thread.replace("thread", "threat"), EARLIER_S + 1),
    ],
    ["of a package is another", (root) => write(root, "node_modules/greeting/index.js", "// none")],
    ["that only decides what is built is another", (root) => write(root, "lock.json", "{}")],
    ["is empty", (root) => write(root, "cli/later.ts", "")],
  ])("is not run when a source %s", async (_, change) => {
    using temp = tempDir();
    sourcesIn(temp.path);
    await build(temp.path);
    change(temp.path);
    expect(found(temp.path)).toBeUndefined();
  });

  test.each<readonly [string, (file: string) => void]>([
    ["was emptied by a loss of power", (file) => truncateSync(file)],
    ["is missing", (file) => rmSync(file)],
  ])("is not run when a file of it %s, and is built anew then", async (_, spoil) => {
    using temp = tempDir();
    sourcesIn(temp.path);
    const program = await build(temp.path);
    const name = readdirSync(dirname(program)).find((one) => one.includes("later"));
    const file = join(dirname(program), name ?? "none");
    const before = readFileSync(file, "utf8");
    spoil(file);
    expect(found(temp.path)).toBeUndefined();
    expect(await build(temp.path)).toBe(program);
    expect(found(temp.path)).toBeDefined();
    expect(readFileSync(file, "utf8")).toBe(before);
  });

  test("is not run when a source was changed within the second in which it was read", async () => {
    using temp = tempDir();
    // Later than any build of today, so that no second passes meanwhile.
    const changedS = 4_000_000_000;
    sourcesIn(temp.path, changedS);
    await build(temp.path);
    expect(found(temp.path)).toBeDefined();
    write(temp.path, "far/word.ts", thread.replace("thread", "threat"), changedS);
    expect(found(temp.path)).toBeUndefined();
  });

  test("is run when a source was only written again", async () => {
    using temp = tempDir();
    sourcesIn(temp.path);
    const program = await build(temp.path);
    sourcesIn(temp.path, EARLIER_S + 100);
    expect(found(temp.path)).toBe(pathToFileURL(program).href);
  });

  test.each([
    ["nothing", undefined],
    ["no JSON", "{"],
    ["another JSON", "{}"],
  ])("is none where its list is %s", (_, text) => {
    using temp = tempDir();
    if (text !== undefined) write(temp.path, join(BUILT, MANIFEST), text);
    expect(found(temp.path)).toBeUndefined();
  });

  test("is left for whoever runs it still, until the one after the next", async () => {
    using temp = tempDir();
    sourcesIn(temp.path);
    const folders: string[] = [];
    for (const word of ["thread", "second", "third"]) {
      write(temp.path, "far/word.ts", `export const word = "${word}";`);
      folders.push(dirname(await build(temp.path)));
    }
    const [, second, third] = folders.map((folder) => folder.slice(-16));
    const names = readdirSync(join(temp.path, BUILT)).sort();
    expect(names).toEqual([second, third, MANIFEST].sort());
  });

  test("is not built again of the same sources", async () => {
    using temp = tempDir();
    sourcesIn(temp.path);
    const list = join(temp.path, BUILT, MANIFEST);
    await build(temp.path);
    const { ino } = statSync(list);
    await build(temp.path);
    expect(statSync(list).ino).toBe(ino);
    expect(JSON.parse(readFileSync(list, "utf8")).sources.map(([path]: string[]) => path)).toEqual(
      [
        "cli/later.ts",
        "cli/main.ts",
        "far/inner.ts",
        "far/thread.ts",
        "far/word.ts",
        "lock.json",
      ].concat("node_modules/greeting/index.js"),
    );
  });

  test("is not built of a source that would look for something where it does not lie", async () => {
    using temp = tempDir();
    sourcesIn(temp.path);
    write(temp.path, "far/word.ts", "export const word = import.meta.dirname;");
    await expect(build(temp.path)).rejects.toThrow("far/word.ts");
  });
});
