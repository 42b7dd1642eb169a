import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { daemonsetRuleset } from "../../node/kernel/daemonset-ruleset.ts";
import { type KernelView, QUESTIONS_PER_ADDRESS } from "../../node/kernel/kernel-view.ts";
import { RuleKeeper } from "../../node/kernel/rule-keeper.ts";
import { KernelLab, kernelUnavailable, LAB, type Speaker } from "../support/kernel-lab.ts";
import { proofCount } from "../support/proof.ts";
import { E2E_TIMEOUTS, NODE } from "../support/run-altrace.ts";
import { waitUntil } from "../support/wait-until.ts";
import { FarSide } from "./far-side.ts";

const unavailable = kernelUnavailable();

const VIEW: KernelView = {
  infra: ["lo", "ext0"],
  bridges: [],
  killed: [],
  pods: [
    { link: "p1", addresses: LAB.a1, exempt: false },
    { link: "p2", addresses: LAB.a2, exempt: false },
  ],
};

/** What is tried again in each state of the machine: one of each way out. */
const FEW = ["tcp4-443", "tcp6-443", "udp4-443", "dns-udp4", "icmp4-echo", "spoof4-outside"];

/** Connects with one repetition at most, which a machine that says nothing would be given. */
const ONE_ATTEMPT = `
import json, socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
try:
    s.connect((sys.argv[1], 443))
    saw = str(s.recv(1))
except OSError as error:
    saw = type(error).__name__
print(json.dumps({"saw": saw}))
`;

/** Asks the door itself, once at each address. */
const ASKED_ELSEWHERE = `
import socket, sys
question = bytes.fromhex("000701000001000000000000046576696c076578616d706c650000010001")
for host in sys.argv[1:]:
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(question, (host, 14053))
`;

/** Asks so many times for one name, whoever answers, then once more until it is told. */
const QUESTIONS = `
import json, socket, sys
question = bytes.fromhex("000701000001000000000000046576696c076578616d706c650000010001")
for host in ("198.18.9.9", "2001:db8:1::9:9"):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(int(sys.argv[1])):
        s.sendto(question, (host, 53))
    s.settimeout(0.2)
    answer = None
    while answer is None:
        s.sendto(question, (host, 53))
        try:
            answer = s.recv(512).hex()
        except TimeoutError:
            pass
    print(json.dumps({"answer": answer[:8]}), flush=True)
`;

vi.setConfig(E2E_TIMEOUTS);

describe.skipIf(unavailable !== undefined)("a machine with routed pods", () => {
  let lab: KernelLab;
  let far: FarSide;
  let keeper: RuleKeeper;
  const ours: Disposable[] = [];

  beforeAll(async () => {
    lab = new KernelLab();
    ours.push(lab);
    far = await FarSide.open(lab);
    keeper = new RuleKeeper(lab.host);
  });
  beforeEach(() => far.forget());
  afterAll(() => {
    for (const one of ours) one[Symbol.dispose]();
  });

  const flow = async (host: string, port: number, ...more: readonly string[]): Promise<Speaker> => {
    const speaker = lab.speak("a1", ["python3", script("flow.py"), host, String(port), ...more]);
    await waitUntil(
      () => `a flow to ${host}: ${JSON.stringify(speaker.said)}`,
      () => speaker.said.some((one) => one.connected !== undefined),
    );
    return speaker;
  };
  const flushRules = () => lab.run("node", "nft flush ruleset");

  test("control: without rules every attack arrives: the far side is not deaf", async () => {
    const attacks = await lab.attack();
    expect(attacks.length).toBeGreaterThan(80);
    const reached = await far.reached(attacks);
    expect(
      attacks.map(({ name }) => name).filter((name) => !reached.includes(String(name))),
    ).toEqual([]);
  });

  test("preexisting: what was open before the rules came is cut, and nothing of it arrives later", async () => {
    // Somebody else's rules had the kernel track them: as established, which many a machine lets pass.
    const hook = "type filter hook forward priority 0";
    lab.run(
      "node",
      "nft -f -",
      `table inet x {\nchain c {\n${hook}\nct state established counter\n}\n}\n`,
    );
    const flows = [
      await flow("198.18.1.1", 443, "GET / HTTP/1.1\r\n\r\n"),
      await flow("2001:db8:1::1:1", 443, "GET / HTTP/1.1\r\n\r\n"),
    ];
    const datagrams = [
      await flow("198.18.1.1", 443, "open", "udp"),
      await flow("2001:db8:1::1:1", 443, "open", "udp"),
    ];
    expect(lab.run("node", "nft list chain inet x c")).not.toContain("packets 0 ");
    await keeper.load(VIEW);
    await using probe = await started(() => lab.captureProbe());
    far.forget();
    for (const { child } of datagrams) child.stdin?.write("send\n");
    for (const { said } of datagrams)
      await waitUntil("the datagram to be sent", () => said.some(({ sent }) => sent !== undefined));
    for (const { child } of flows) child.stdin?.write("wait\nsend\n");
    for (const { said } of flows)
      await waitUntil(
        () => `the flow to be cut: ${JSON.stringify(said)}`,
        () => said.some(({ ended }) => ended === "ConnectionResetError"),
      );
    expect(await far.leaks()).toEqual([]);
    expect(probe.it.said.some(({ captured }) => captured)).toBe(false);
    lab.run("node", "nft delete table inet x");
  });

  test("matrix, capture: with rules no attack arrives, and TCP is captured under its own name", async () => {
    await keeper.load(VIEW);
    await using probe = await started(() => lab.captureProbe());
    expect(probe.it.said).toMatchObject([{ ready: true, uid: 4737, capEff: "0000000000000000" }]);
    const attacks = await lab.attack({ isAnswered: true });
    expect(await far.leaks()).toEqual([]);
    const captured = probe.it.said.filter(({ captured: by }) => by !== undefined);
    const of = (name: string) => {
      const n = attacks.find((one) => one.name === name)?.n;
      return captured.filter(({ dst }) => String(dst).startsWith(`198.18.0.${n}:`));
    };
    expect(of("tcp4-443")).toMatchObject([{ captured: LAB.a1[0], allowed: false }]);
    expect(captured).toContainEqual({
      captured: LAB.a1[1],
      dst: `${LAB.node6}:10250`,
      allowed: false,
    });
    expect(captured.map(({ dst }) => dst)).not.toContain("169.254.169.254:80");
    // Whatever source it wrote, nothing was taken for its neighbour's.
    const heard = probe.it.said.map(({ captured: by, asked, by: asker }) => by ?? (asked && asker));
    const own = new Set<unknown>([undefined, ...LAB.a1]);
    expect(heard.filter((by) => !own.has(by))).toEqual([]);
    // The name is allowed and the address is the agent's: what was dialled is the proxy's own answer.
    expect(of("sni-allowed-address-evil")).toMatchObject([{ allowed: true }]);
    expect(await far.accepted()).toEqual([{ port: 443, src: LAB.node4 }]);
    // Whichever server a question was meant for, it is answered here, and the answer finds its way back.
    const answer = (name: string) => String(attacks.find((one) => one.name === name)?.saw);
    expect(answer("dns-allowed")).toMatch(/^read 00078580.*c61[23].{4}$/);
    expect(answer("dns-udp4")).toMatch(/^read 00078583/);
    expect(answer("dns-txt-tunnel")).toMatch(/^read 00078583/);
    expect(probe.it.said).toContainEqual({ asked: "evil.example", by: LAB.a1[0] });
  });

  test("failclosed: with the proxy dead nothing arrives", async () => {
    await keeper.load(VIEW);
    await lab.attack({ only: FEW });
    expect(await far.leaks()).toEqual([]);
  });

  test("failclosed: without the drop behind tproxy a dead proxy leaks, so the line is what holds", async () => {
    await keeper.load(VIEW);
    // What else would stop it further on is gone as well, or the test would prove another wall.
    const alone = daemonsetRuleset(VIEW)
      .replace(/ {2}chain onward \{[^}]*\}\n/, "")
      .replace(
        "    udp dport 53 accept\n    meta nfproto ipv6 icmpv6",
        "    accept\n    meta nfproto ipv6 icmpv6",
      );
    lab.run("node", "nft -f -", alone);
    lab.run("node", "ip -4 rule del pref 110");
    await lab.attack({ only: ["tcp4-443"] });
    expect(await far.leaks()).toEqual([]);
    lab.run("node", "nft -f -", alone.replaceAll("    meta l4proto tcp drop\n", ""));
    await lab.attack({ only: ["tcp4-443"] });
    expect((await far.leaks()).length).toBeGreaterThan(0);
    expect(await keeper.missing(() => [])).toEqual(
      expect.arrayContaining(["rules were changed or removed", "policy routes were removed"]),
    );
  });

  test("failclosed: with the route for captured packets gone nothing arrives", async () => {
    await keeper.load(VIEW);
    await using _ = await started(() => lab.captureProbe());
    for (const family of ["-4", "-6"]) lab.run("node", `ip ${family} rule del pref 100`);
    await lab.attack({ only: FEW });
    expect(await far.leaks()).toEqual([]);
  });

  test("failclosed: flushed by somebody nothing goes outside, it is noticed and mended", async () => {
    await keeper.load(VIEW);
    flushRules();
    await lab.attack({ only: [...FEW, "pod-tcp4", "pod-tcp6"] });
    expect(await far.leaks()).toEqual([]);
    expect(await keeper.missing(() => [])).toEqual(["rules were changed or removed"]);
    await keeper.load(VIEW);
    expect(await keeper.missing(() => [])).toEqual([]);
    await using probe = await started(() => lab.captureProbe());
    await lab.attack({ only: ["tcp4-443"] });
    expect(probe.it.said).toContainEqual(expect.objectContaining({ captured: LAB.a1[0] }));
  });

  test("reload: loading again and again under a flood lets no packet through", async () => {
    const { count } = proofCount("reloads under flood", { small: 8, full: 60 });
    await keeper.load(VIEW);
    const flood = lab.speak("a1", ["python3", script("flood.py"), "198.18.9.9"]);
    await waitUntil("the flood", () => flood.said.length > 0);
    let loads = 0;
    await waitUntil("as many loads, and a thousand datagrams meanwhile", () => {
      lab.run("node", "nft -f -", daemonsetRuleset(VIEW));
      loads += 1;
      return loads >= count && flood.said.some(({ thousand }) => thousand);
    });
    flood.child.stdin?.end();
    await flood.exit;
    expect(await far.leaks()).toEqual([]);
  });

  test("names: who asks without end is answered so often, and nobody else waits for it", async () => {
    await keeper.load(VIEW);
    await using _ = await started(() => lab.captureProbe());
    const many = 3 * QUESTIONS_PER_ADDRESS.burst;
    for (const [pod, count] of [
      ["a1", many],
      ["a2", 1],
    ] as const) {
      const asker = lab.speak(pod, ["python3", "-c", QUESTIONS, String(count)]);
      await asker.exit;
      expect(asker.said).toEqual([{ answer: "00078583" }, { answer: "00078583" }]);
    }
    const dropped = Number((await keeper.packets()).get("asked"));
    // Of each family its own, less what is let through while they are asked.
    expect(dropped).toBeGreaterThan(QUESTIONS_PER_ADDRESS.burst);
    expect(await keeper.missing(() => [])).toEqual([]);
    expect(await far.leaks()).toEqual([]);
  });

  test("names: who asks from elsewhere than from a pod is not heard, whatever address the door is asked at", async () => {
    await keeper.load(VIEW);
    await using probe = await started(() => lab.captureProbe());
    const asks = async () => {
      await lab.speak("inet", ["python3", "-c", ASKED_ELSEWHERE, LAB.node4, LAB.node6]).exit;
      // What was sent before this has arrived.
      const asker = lab.speak("a1", ["python3", "-c", QUESTIONS, "0"]);
      await asker.exit;
      expect(asker.said).toHaveLength(2);
    };
    const strangers = () =>
      probe.it.said
        .map(({ asked, by }) => asked && by)
        .filter((by) => by === LAB.inet4 || by === LAB.inet6);
    await asks();
    expect(strangers()).toEqual([]);
    const line = /^ {4}iifname @infra udp dport \d+ drop\n/m;
    lab.run("node", "nft -f -", daemonsetRuleset(VIEW).replace(line, ""));
    await asks();
    expect(strangers()).toEqual([LAB.inet4, LAB.inet6]);
  });

  test("kill: an attempt that had come in just before it is reset, and not left to try again", async () => {
    await keeper.load({ ...VIEW, killed: LAB.a1 });
    await using _ = await started(() => lab.captureProbe());
    // In the place of a kill that comes between the first packet of a connection and its second.
    lab.run(
      "node",
      "nft insert rule inet altrace admit iifname p1 tcp flags & (syn | ack) == syn counter accept",
    );
    for (const host of ["198.18.1.1", "2001:db8:1::1:1"]) {
      const attempt = lab.speak("a1", ["python3", "-c", ONE_ATTEMPT, host]);
      await attempt.exit;
      expect(attempt.said).toEqual([{ saw: "ConnectionResetError" }]);
    }
    // Nothing was sent twice.
    expect(lab.run("node", "nft list chain inet altrace admit")).toContain("counter packets 2 ");
  });

  test("a pod that nobody knows is captured, and what it sends is dropped", async () => {
    await keeper.load({ ...VIEW, pods: VIEW.pods.slice(1) });
    await using probe = await started(() => lab.captureProbe());
    await lab.attack({ only: FEW });
    expect(await far.leaks()).toEqual([]);
    expect(probe.it.said.filter(({ captured }) => captured)).toEqual([]);
  });

  test("a pod that is exempt goes its own way, and no other pod under its name", async () => {
    const [first, second] = VIEW.pods as [(typeof VIEW.pods)[0], (typeof VIEW.pods)[0]];
    await keeper.load({ ...VIEW, pods: [first, { ...second, exempt: true }] });
    const passed = await lab.attack({ from: "a2", only: ["udp4-443", "tcp4-443"] });
    expect(await far.reached(passed)).toEqual(["tcp4-443", "udp4-443"]);
    far.forget();
    await lab.attack({ only: ["spoof4-pod", "spoof4-pod-tcp", "tcp4-443"] });
    expect(await far.leaks()).toEqual([]);
  });

  test("an agent that is root takes other addresses and flushes its own rules in vain", async () => {
    await keeper.load(VIEW);
    lab.run("a1", "nft flush ruleset");
    lab.run("a1", "ip addr add 10.77.0.99/32 dev eth0");
    lab.run("a1", `python3 -c ${boundSend("10.77.0.99")}`);
    lab.run("a1", "ip addr del 10.77.0.99/32 dev eth0");
    expect(await far.leaks()).toEqual([]);
    expect(lab.run("node", "nft list counter inet altrace spoofed")).not.toContain("packets 0 ");
  });

  test("uninstalling is explicit, whole, and may be repeated", async () => {
    await keeper.load(VIEW);
    const command = [NODE, "cli/altrace.js", "enforcer", "uninstall"];
    for (let i = 0; i < 2; i++) expect(await lab.speak("node", command).exit).toBe(0);
    expect(lab.run("node", "nft list ruleset")).toBe("");
    expect(lab.run("node", "ip -4 rule")).not.toMatch(/^1\d\d:/m);
    const attacks = await lab.attack({ only: ["tcp4-443"] });
    expect(await far.reached(attacks)).toEqual(["tcp4-443"]);
  });
});

type Started = AsyncDisposable & { readonly it: Speaker };

/** Ends with the block: the port is wanted by the next test. */
async function started(start: () => Promise<Speaker>): Promise<Started> {
  const it = await start();
  return {
    it,
    [Symbol.asyncDispose]: async () => {
      it.child.kill("SIGTERM");
      await it.exit;
    },
  };
}

function script(name: string): string {
  return `${import.meta.dirname}/${name}`;
}

function boundSend(address: string): string {
  return `import\tsocket;s=socket.socket(2,2);s.bind(("${address}",0));s.sendto(b"x",("198.18.0.1",443))`;
}
