import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { prepareThread } from "../../../ports/prepared-thread.ts";

const BEGINNING = new URL("../../../ports/thread-beginning.ts", import.meta.url);
/** Says what it rehearses, and what it begins with. */
const PROGRAM = `
  import { parentPort } from "node:worker_threads";
  import { beginning } from ${JSON.stringify(BEGINNING.href)};
  const say = (...said) => parentPort.postMessage(said);
  say("begins", await beginning(async (bundle) => say("rehearses", bundle)));`;

function prepared(rehearsal: Uint8Array | undefined) {
  const program = new URL(`data:text/javascript,${encodeURIComponent(PROGRAM)}`);
  const thread = prepareThread({ name: "a", program, youngMibMax: 6, rehearsal });
  onTestFinished(() => thread[Symbol.asyncDispose]());
  const said: unknown[] = [];
  thread.worker.on("message", (one) => said.push(one));
  return { thread, said };
}

test.each([
  ["has rehearsed before it begins", Buffer.from("a"), [["rehearses", Uint8Array.of(97)]]],
  ["rehearses nothing where nothing is given", undefined, []],
])("a thread that is prepared %s", async (_, rehearsal, rehearsed) => {
  const { thread, said } = prepared(rehearsal);
  await thread.loaded;
  thread.begin({ work: 1 });
  await once(thread.worker, "exit");
  expect(said).toEqual([...rehearsed, ["begins", { work: 1 }]]);
});

test("a thread that was prepared is bounded, and ends whether it has begun or not", async () => {
  const { thread } = prepared(undefined);
  await thread.loaded;
  expect(thread.worker.resourceLimits?.maxYoungGenerationSizeMb).toBe(6);
  const ended = once(thread.worker, "exit");
  await thread[Symbol.asyncDispose]();
  await ended;
});
