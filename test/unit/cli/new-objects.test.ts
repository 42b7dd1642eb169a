import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { cleanEnv, NODE } from "../../support/run-altrace.ts";

const BOUND = new URL("../../../cli/new-objects.js", import.meta.url).href;

/** Lets 200,000 objects live on for a while, and says what room there is for new ones then, MiB. */
const CHURN = `(() => {
  const kept = [];
  for (let no = 0; no < 1_000_000; no++) kept[no % 200_000] = { no, list: [no] };
  const spaces = process.getBuiltinModule("node:v8").getHeapSpaceStatistics();
  return spaces.find((space) => space.space_name === "new_space").space_size / 1024 ** 2;
})()`;
const WORKER = `process.getBuiltinModule("node:worker_threads").parentPort.postMessage(${CHURN})`;

/** What it is in the first thread of a process, and in two that are given 6 and 24 MiB. */
function roomOf(isBound: boolean): readonly number[] {
  const program = `
    const { Worker } = process.getBuiltinModule("node:worker_threads");
    const { boundNewObjects } = await import(${JSON.stringify(BOUND)});
    if (${isBound}) boundNewObjects();
    const said = [${CHURN}];
    for (const maxYoungGenerationSizeMb of [6, 24]) {
      const of = { eval: true, resourceLimits: { maxYoungGenerationSizeMb } };
      const worker = new Worker(${JSON.stringify(WORKER)}, of);
      said.push(await new Promise((resolve) => worker.once("message", resolve)));
    }
    console.log(JSON.stringify(said));`;
  const words = ["--input-type=module", "--eval", program];
  return JSON.parse(execFileSync(NODE, words, { env: cleanEnv(), encoding: "utf8" }));
}

test("the first thread keeps to what it starts with, and others to what they are given", () => {
  expect(roomOf(false)[0]).toBeGreaterThan(4);
  const [first, small, large] = roomOf(true);
  expect(first).toBeLessThanOrEqual(2);
  expect(small).toBeLessThanOrEqual(4);
  expect(large).toBeGreaterThan(8);
  expect(large).toBeLessThanOrEqual(16);
});
