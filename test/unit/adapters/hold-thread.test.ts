import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";

test("whoever ends a thread that is held up need not wait for it", async () => {
  const module = new URL("../../../adapters/hold-thread.ts", import.meta.url).href;
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(workerData).then(({ holdThread }) => {
      parentPort.postMessage("held");
      holdThread(600_000);
    });`;
  const worker = new Worker(code, { eval: true, workerData: module });
  await once(worker, "message");
  expect(await worker.terminate()).toBe(1);
});
