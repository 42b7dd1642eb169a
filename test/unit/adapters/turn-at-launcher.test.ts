import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freeForNext } from "../../../adapters/turn-at-launcher.ts";
import { tempDir } from "../../support/temp-dir.ts";

test("a program says once that it has nothing left to do, and ends in order where nobody hears it", () => {
  using dir = tempDir();
  const path = join(dir.path, "said");
  const fd = openSync(path, "w");
  freeForNext(fd);
  closeSync(fd);
  expect(readFileSync(path, "utf8")).toBe("f");
  const deaf = openSync(path, "r");
  expect(() => freeForNext(deaf)).not.toThrow();
  closeSync(deaf);
  expect(() => freeForNext(undefined)).not.toThrow();
});
