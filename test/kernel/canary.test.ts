import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { canaryWays, wordsOfWay } from "../../node/kernel/canary-ways.ts";
import { RuleKeeper } from "../../node/kernel/rule-keeper.ts";
import { uuidV7 } from "../../ports/random.ts";
import { KernelLab, kernelUnavailable, LAB } from "../support/kernel-lab.ts";
import { E2E_TIMEOUTS, NODE } from "../support/run-altrace.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const PORT = 14_055;
const SOCKETS = join(import.meta.dirname, "../../adapters/canary-sockets.ts");
/** Hears on the machine. */
const EARS = `
const { canaryEars } = await import(process.argv[1]);
await canaryEars(${PORT}, (word) => console.log(JSON.stringify({ word })));
console.log(JSON.stringify({ ready: true }));`;
/** Tries in a pod, as a canary does, all at once. */
const CANARY = `
const { attemptTarget } = await import(process.argv[1]);
await Promise.all(JSON.parse(process.argv[2]).map(attemptTarget));
console.log(JSON.stringify({ done: true }));`;

describe.skipIf(kernelUnavailable() !== undefined)("what a canary tries", () => {
  test("arrives on every way without rules, or the canary is blind, and on none with them", async () => {
    using lab = new KernelLab();
    const program = (text: string, ...words: string[]) => [
      ...[NODE, "--input-type=module", "-e", text, SOCKETS, ...words],
    ];
    const ears = lab.speak("node", program(EARS));
    await waitUntil("the ears", () => ears.said.some(({ ready }) => ready === true));
    const isHeard = (word: string) => ears.said.some((one) => one.word === word);
    const tried = async () => {
      const newWord = () => uuidV7(systemClock.nowMs(), cryptoRandom);
      const ways = canaryWays({ hosts: [LAB.node4, LAB.node6], port: PORT, newWord });
      const canary = lab.speak("a1", program(CANARY, JSON.stringify(ways)));
      await canary.exit;
      expect(canary.said).toEqual([{ done: true }]);
      return ways;
    };
    const free = await tried();
    await waitUntil(
      () => `all: ${free.filter(({ word }) => !isHeard(word)).map(wordsOfWay)}`,
      () => free.every(({ word }) => isHeard(word)),
    );
    const view = { infra: ["lo", "ext0"], bridges: [], killed: [] };
    const pods = [{ link: "p1", addresses: LAB.a1, exempt: false }];
    await new RuleKeeper(lab.host).load({ ...view, pods });
    const caught = await tried();
    // What was sent before this from elsewhere has arrived, so all that was sent has.
    const last = caught[0]?.word.replace(/.$/, "x") as string;
    const way = { word: last, by: "udp", host: LAB.node4, port: PORT };
    await lab.speak("inet", program(CANARY, JSON.stringify([way]))).exit;
    await waitUntil("the last word", () => isHeard(last));
    expect(caught.filter(({ word }) => isHeard(word)).map(wordsOfWay)).toEqual([]);
  });
});
