import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { tempDir } from "../../support/temp-dir.ts";

/**
 * A process that ends in the middle of a write: while its JavaScript thread sleeps the library's has come to where
 * it waits for it, within the transaction.
 */
const PROGRAM = `
  import { openLmdbStore } from "./adapters/lmdb-store.ts";
  import { endWith } from "./adapters/end-now.ts";
  const store = openLmdbStore(process.argv[1]);
  for (let turn = 0; turn < 20; turn++) {
    void store.commit([{ key: "lost " + turn, value: Buffer.alloc(100) }]);
    await new Promise(setImmediate);
  }
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  process.stderr.write("why");
  endWith(2);
`;

test("a process that is writing ends at once with its own status, once it has said why", async () => {
  using folder = tempDir();
  const words = ["--input-type=module", "-e", PROGRAM, folder.path];
  const child = spawn(process.execPath, words, { stdio: ["ignore", "inherit", "pipe"] });
  let said = "";
  child.stderr.on("data", (bytes: Buffer) => {
    said += bytes.toString();
  });
  expect(await once(child, "close")).toEqual([2, null]);
  expect(said).toBe("why");
});
