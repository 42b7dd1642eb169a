import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { canaryWays, isToldByAnswer, wordsOfWay } from "../../node/kernel/canary-ways.ts";
import { RuleKeeper } from "../../node/kernel/rule-keeper.ts";
import { ANSWERED, type CanaryWay, UNABLE } from "../../ports/canary-way.ts";
import { uuidV7 } from "../../ports/random.ts";
import {
  KernelLab,
  kernelUnavailable,
  LAB,
  mounting,
  type Speaker,
} from "../support/kernel-lab.ts";
import { E2E_TIMEOUTS, NODE } from "../support/run-altrace.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const PORT = 14_055;
const ADAPTERS = join(import.meta.dirname, "../../adapters");
/** Hears on the machine. */
const EARS = `
const { canaryEars } = await import(process.argv[1] + "/canary-sockets.ts");
await canaryEars(${PORT}, (word) => console.log(JSON.stringify({ word })));
console.log(JSON.stringify({ ready: true }));`;
/** Tries in a pod, as a canary does, all at once. */
const CANARY = `
const [, folder, program, ways] = process.argv;
const { attemptWays } = await import(folder + "/canary-attempts.ts");
console.log(JSON.stringify({ saw: await attemptWays(JSON.parse(ways), program) }));`;
/** Knows no name, as a resolver of the cluster that is asked for one of ours. */
const RESOLVER = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 53))
print('{"ready": true}', flush=True)
while True:
    asked, peer = s.recvfrom(600)
    s.sendto(asked[:2] + b"\\x81\\x83" + asked[4:], peer)`;

describe.skipIf(kernelUnavailable() !== undefined)("what a canary tries", () => {
  test("arrives on every way without rules, or the canary is blind, and on none with them", async () => {
    using lab = new KernelLab();
    const program = (text: string, ...words: string[]) => [
      ...[NODE, "--input-type=module", "-e", text, ADAPTERS, ...words],
    ];
    const servers = join(lab.folder, "resolv.conf");
    writeFileSync(servers, `nameserver ${LAB.inet4}\n`);
    const mounted = ["unshare", "-m", "sh", "-c", mounting({ "/etc/resolv.conf": servers }), "sh"];
    const started = [
      lab.speak("node", program(EARS)),
      lab.speak("inet", ["python3", "-c", RESOLVER]),
    ];
    const [ears] = started as [Speaker, Speaker];
    await waitUntil(
      () => `both: ${JSON.stringify(started.map(({ said }) => said))}`,
      () => started.every(({ said }) => said.some(({ ready }) => ready === true)),
    );
    const isHeard = (word: string) => ears.said.some((one) => one.word === word);
    const from = async (place: "a1" | "inet", ways: readonly CanaryWay[]) => {
      const line = program(CANARY, lab.canaryPackets(), JSON.stringify(ways));
      const canary = lab.speak(place, [...mounted, ...line]);
      await canary.exit;
      const [{ saw }] = canary.said as [{ saw: readonly string[] }];
      expect(saw).toHaveLength(ways.length);
      return ways.map((way, at) => ({ way, saw: saw[at] }));
    };
    const tried = () => {
      const newWord = () => uuidV7(systemClock.nowMs(), cryptoRandom);
      return from("a1", canaryWays({ hosts: [LAB.node4, LAB.node6], port: PORT, newWord }));
    };
    const gotOut = ({ way, saw }: Awaited<ReturnType<typeof from>>[number]) =>
      isToldByAnswer(way) ? saw === ANSWERED : isHeard(way.word);
    const words = (some: Awaited<ReturnType<typeof from>>) =>
      some.map(({ way }) => wordsOfWay(way));
    const free = await tried();
    expect(words(free.filter(({ saw }) => saw === UNABLE))).toEqual([]);
    await waitUntil(
      () => `all: ${words(free.filter((one) => !gotOut(one)))}`,
      () => free.every(gotOut),
    );
    const view = { infra: ["lo", "ext0"], bridges: [], killed: [] };
    const pods = [{ link: "p1", addresses: LAB.a1, exempt: false }];
    await new RuleKeeper(lab.host).load({ ...view, pods });
    const caught = await tried();
    // What was sent before this from elsewhere has arrived, so all that was sent has.
    const last = caught[0]?.way.word.replace(/.$/, "x") as string;
    await from("inet", [{ word: last, by: "udp", host: LAB.node4, port: PORT }]);
    await waitUntil("the last word", () => isHeard(last));
    expect(words(caught.filter(gotOut))).toEqual([]);
  });
});
