import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { tempDir } from "../../support/temp-dir.ts";

const ADAPTER = new URL("../../../adapters/compile-cache.ts", import.meta.url).href;

/** What a thread with that environment hands on to one that is given no other. */
async function handedOn(env: Readonly<Record<string, string>>): Promise<unknown> {
  const program = `import(${JSON.stringify(ADAPTER)}).then(({ compileCacheEnv }) =>
    require("node:worker_threads").parentPort.postMessage(compileCacheEnv()))`;
  const worker = new Worker(program, { eval: true, env, execArgv: [] });
  const [said] = (await once(worker, "message")) as [unknown];
  await worker.terminate();
  return said;
}

test("the folder of compiled sources is handed on as it was named, and where there is none, nothing is", async () => {
  using folder = tempDir();
  const env = { NODE_COMPILE_CACHE: folder.path };
  expect(await handedOn(env)).toEqual(env);
  expect(await handedOn({})).toEqual({});
});
