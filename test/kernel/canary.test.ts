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
/** A page on each port, over both families, as services of a machine have, or a cloud. */
const SERVICES = `
import json, socket, sys, threading
def serve(s):
    while True:
        peer, _ = s.accept()
        peer.recv(1000)
        peer.send(b"HTTP/1.1 401 Unauthorized\\r\\n\\r\\n")
        peer.close()
for port in map(int, sys.argv[1:]):
    s = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=serve, args=(s,), daemon=True).start()
print('{"ready": true}', flush=True)
sys.stdin.read()`;
/** Tries in a pod, as a canary does, all at once. */
const CANARY = `
const [, folder, program, ways] = process.argv;
const { attemptWays } = await import(folder + "/canary-attempts.ts");
console.log(JSON.stringify({ saw: await attemptWays(JSON.parse(ways), program) }));`;
/** Knows no name (3), as a resolver of the cluster that is asked for one of ours; or answers nobody (5), as the node a stranger. */
const RESOLVER = `
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[1])))
print('{"ready": true}', flush=True)
while True:
    asked, peer = s.recvfrom(600)
    s.sendto(asked[:2] + bytes([0x81, 0x80 + int(sys.argv[2])]) + asked[4:], peer)`;

describe.skipIf(kernelUnavailable() !== undefined)("what a canary tries", () => {
  test("canary: it arrives on every way without rules, or it is blind, and on none with them", async () => {
    using lab = new KernelLab();
    const program = (text: string, ...words: string[]) => [
      ...[NODE, "--input-type=module", "-e", text, ADAPTERS, ...words],
    ];
    const servers = join(lab.folder, "resolv.conf");
    writeFileSync(servers, `nameserver ${LAB.inet4}\n`);
    const mounted = ["unshare", "-m", "sh", "-c", mounting({ "/etc/resolv.conf": servers }), "sh"];
    const started = [
      lab.speak("node", program(EARS)),
      lab.speak("inet", ["python3", "-c", RESOLVER, "53", "3"]),
      lab.speak("node", ["python3", "-c", RESOLVER, "14053", "5"]),
      lab.speak("node", ["python3", "-c", SERVICES, "22", "4091", "4094", "10250"]),
      lab.speak("inet", ["python3", "-c", SERVICES, "80"]),
    ];
    const [ears] = started as [Speaker, ...Speaker[]];
    // As on a machine whose services on a port of each node are reached at its own loopback too.
    lab.run("node", "tee /proc/sys/net/ipv4/conf/p1/route_localnet", "1");
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
      const hosts = [LAB.node4, LAB.node6];
      return from("a1", canaryWays({ hosts, pods: LAB.a2, port: PORT, newWord }));
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
