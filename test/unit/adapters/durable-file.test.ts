import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { dirname, join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { makeFolderDurably, replaceDurably } from "../../../adapters/durable-file.ts";
import { openLmdbStore } from "../../../adapters/lmdb-store.ts";
import { createPrivateFile } from "../../../adapters/private-file.ts";
import { tempDir } from "../../support/temp-dir.ts";

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

/** What is synced and renamed from here on, by path. */
function watch(root: string): string[] {
  const steps: string[] = [];
  const { fsyncSync, renameSync } = fs;
  const name = (path: string): string => path.replace(root, "");
  vi.spyOn(fs, "fsyncSync").mockImplementation((fd) => {
    steps.push(`sync ${name(fs.readlinkSync(`/proc/self/fd/${fd}`))}`);
    fsyncSync(fd);
  });
  vi.spyOn(fs, "renameSync").mockImplementation((from, to) => {
    steps.push(`rename ${name(String(to))}`);
    renameSync(from, to);
  });
  syncBuiltinESMExports();
  return steps;
}

const isLinux = process.platform === "linux";

test.runIf(isLinux)("every folder that is made has its name on the disk", () => {
  using dir = tempDir();
  const steps = watch(dir.path);
  makeFolderDurably(join(dir.path, "home", "node"));
  expect(steps.splice(0)).toEqual(["sync /home", "sync "]);
  // Whoever made it may have ended before it was synced.
  makeFolderDurably(join(dir.path, "home", "node"));
  expect(steps).toEqual(["sync /home"]);
});

test.runIf(isLinux)(
  "a store's file has its name on the disk before anything is committed",
  async () => {
    using dir = tempDir();
    const steps = watch(dir.path);
    const store = openLmdbStore(join(dir.path, "node", "mesh"));
    expect(steps).toEqual(["sync /node", "sync ", "sync /node/mesh"]);
    await store.close();
  },
);

test.runIf(isLinux)(
  "a file that is replaced is synced before it has its name, and its folder after",
  () => {
    using dir = tempDir();
    const path = join(dir.path, "root.pem");
    const steps = watch(dir.path);
    replaceDurably(path, "text", 0o600);
    expect(steps).toEqual(["sync /root.pem.new", "rename /root.pem", "sync "]);
    expect(fs.readFileSync(path, "utf8")).toBe("text");
    expect(fs.statSync(path).mode & 0o777).toBe(0o600);
  },
);

test.runIf(isLinux)("a secret's folder has its name on the disk as well", () => {
  using dir = tempDir();
  const steps = watch(dir.path);
  createPrivateFile(join(dir.path, "keys", "node.key"), "secret");
  expect(steps).toContain("sync ");
  expect(steps.at(-1)).toBe("sync /keys");
});

test("a folder that nobody may look into does not keep one from being made in it", () => {
  using dir = tempDir();
  const path = join(dir.path, "passable", "home");
  const { openSync } = fs;
  vi.spyOn(fs, "openSync").mockImplementation((at, ...rest) => {
    if (at === dirname(path)) throw Object.assign(new Error("no"), { code: "EACCES" });
    return openSync(at, ...rest);
  });
  syncBuiltinESMExports();
  makeFolderDurably(path);
  expect(fs.statSync(path).isDirectory()).toBe(true);
});

test.each(["EINVAL", "EROFS"])("nor does one of a file system that is only read: %s", (code) => {
  using dir = tempDir();
  vi.spyOn(fs, "fsyncSync").mockImplementation(() => {
    throw Object.assign(new Error("no"), { code });
  });
  syncBuiltinESMExports();
  expect(() => makeFolderDurably(join(dir.path, "home"))).not.toThrow();
});

test("a disk that fails to sync a folder is told", () => {
  using dir = tempDir();
  vi.spyOn(fs, "fsyncSync").mockImplementation(() => {
    throw Object.assign(new Error("no"), { code: "EIO" });
  });
  syncBuiltinESMExports();
  expect(() => makeFolderDurably(join(dir.path, "home"))).toThrow("no");
});
