import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { systemClock } from "../../adapters/system-clock.ts";
import { openTurnPipe } from "../../adapters/turn-pipe.ts";
import { gatePipes } from "../../node/kernel/gate-pipes.ts";
import { GatePipe } from "../../node/mesh/gate-pipe.ts";
import { gateFiles, listPods, startEnforcer } from "../support/kernel-enforcer.ts";
import { KernelLab, kernelUnavailable, LAB, type Speaker } from "../support/kernel-lab.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { waitUntil } from "../support/wait-until.ts";
import { FarSide } from "./far-side.ts";
import { Gate } from "./gate.ts";

vi.setConfig(E2E_TIMEOUTS);

const unavailable = kernelUnavailable();
const AGENT = "agent/research/worker-1";
const PROXY = { uid: 4737, word: "capture-probe.ts" };
const LOOKS_OFTEN = { ALTRACE_RULE_CHECK_MS: "200" };

describe.skipIf(unavailable !== undefined)("kill: a kill in the kernel", () => {
  let lab: KernelLab;
  let far: FarSide;
  let probe: Speaker;
  let enforcer: Speaker;
  let gate: Gate;

  beforeAll(async () => {
    lab = new KernelLab();
    far = await FarSide.open(lab);
    listPods(lab);
    enforcer = await startEnforcer(lab, LOOKS_OFTEN);
    gate = await Gate.open(lab);
    probe = await lab.captureProbe();
  });
  afterAll(() => {
    gate?.close();
    lab?.[Symbol.dispose]();
  });

  const flow = async (from: "a1" | "a2", host = "198.18.5.5"): Promise<Speaker> => {
    const script = `${import.meta.dirname}/flow.py`;
    const speaker = lab.speak(from, ["python3", script, host, "443", "HOLD"]);
    await waitUntil(
      () => `a flow through the proxy: ${JSON.stringify(speaker.said)}`,
      () => speaker.said.some(({ connected }) => connected === "held"),
    );
    return speaker;
  };
  const connects = async (from: "a1" | "a2"): Promise<unknown> => {
    const [attempt] = await lab.attack({ from, only: ["tcp4-443"] });
    return attempt?.saw;
  };
  const ended = (one: Speaker, word: "ended" | "chat") =>
    waitUntil(
      () => `${word} of a flow: ${JSON.stringify(one.said)}`,
      () => one.said.find((said) => said[word] !== undefined),
    );
  /** In place of the proxy's own reset, which follows the gate. */
  const resetAll = () => {
    lab.signal("node", PROXY, "SIGUSR2");
  };

  test("refuses what is new, resets what is open, and leaves the neighbour alone", async () => {
    const idle = await flow("a1");
    const idle6 = await flow("a1", "2001:db8:5::5");
    const chatty = await flow("a1");
    const neighbour = await flow("a2");
    idle.child.stdin?.write("wait\n");
    idle6.child.stdin?.write("wait\n");
    chatty.child.stdin?.write("chat 1\n");
    expect(await gate.ask({ t: "kill", scope: AGENT })).toEqual({});
    resetAll();
    expect((await ended(idle, "ended")).ended).toBe("ConnectionResetError");
    expect((await ended(idle6, "ended")).ended).toBe("ConnectionResetError");
    expect(String((await ended(chatty, "chat")).chat)).toMatch(/ConnectionReset|BrokenPipe/);
    expect(String(await connects("a1"))).toContain("ConnectionRefusedError");
    expect(String(await connects("a2"))).toContain("ConnectionResetError");
    neighbour.child.stdin?.write("send\n");
    await waitUntil("the proxy to see the captured neighbour", () =>
      probe.said.some(({ captured }) => captured === LAB.a2[0]),
    );
    expect(await far.leaks()).toEqual([]);
  });

  test("reload: stands while rules are loaded again, flushed, and the enforcer is replaced", async () => {
    const loads = () => enforcer.said.filter(({ event }) => event === "rules_loaded").length;
    const before = loads();
    listPods(lab, [{ name: "three", addresses: ["10.77.0.13"], link: "p3" }]);
    await waitUntil("rules for one more pod", () => loads() > before);
    expect(String(await connects("a1"))).toContain("ConnectionRefusedError");
    lab.run("node", "nft flush ruleset");
    await waitUntil(
      () => `the rules to be mended: ${JSON.stringify(enforcer.said)}`,
      () => enforcer.said.some(({ event }) => event === "rules_repaired"),
    );
    await waitUntil("the killed to be named again", async () => {
      const { output } = await lab.host("nft", ["list", "set", "inet", "altrace", "killed4"]);
      return output.includes(LAB.a1[0]);
    });
    expect(String(await connects("a1"))).toContain("ConnectionRefusedError");
    gate.close();
    enforcer.child.kill("SIGTERM");
    await enforcer.exit;
    expect(String(await connects("a1"))).toContain("ConnectionRefusedError");
    // As after the machine's own restart: no rules, and nobody has said yet what is killed.
    lab.run("node", "nft flush ruleset");
    enforcer = await startEnforcer(lab, LOOKS_OFTEN);
    expect(lab.run("node", "nft list set inet altrace killed4")).toContain(LAB.a1[0]);
    gate = await Gate.open(lab);
  });

  test("is undone by a revive, and by a node that says what is killed", async () => {
    expect(await gate.ask({ t: "revive", scope: AGENT })).toEqual({});
    expect(String(await connects("a1"))).toContain("ConnectionResetError");
    expect(await gate.ask({ t: "kill", scope: "team/research" })).toEqual({});
    expect(String(await connects("a2"))).toContain("ConnectionRefusedError");
    expect(await gate.ask({ t: "killed", scopes: [] })).toEqual({});
    expect(String(await connects("a2"))).toContain("ConnectionResetError");
    expect(await gate.ask({ t: "kill", scope: "contract/x" })).toEqual({
      error: "no pods have this scope",
    });
  });

  test("the short way closes the gate in the turn that asks, ends what is open, and remembers nothing", async () => {
    const { ask, say } = gatePipes(gateFiles(lab).socket);
    const pipe = new GatePipe(systemClock, () => openTurnPipe(ask, say));
    const held = () => lab.run("node", "nft list set inet altrace killed4");
    const open = [await flow("a1"), await flow("a1", "2001:db8:5::5")];
    const neighbour = await flow("a2");
    for (const one of [...open, neighbour]) one.child.stdin?.write("wait\n");
    pipe.open();
    // A machine that is busy may keep the program from answering in time, or its answer from being read.
    let tries = 0;
    const no = await waitUntil("the gate's helper to be in time", () => {
      pipe.open();
      tries += 1;
      return pipe.kill(AGENT);
    });
    expect(held()).toContain(LAB.a1[0]);
    expect(held()).not.toContain(LAB.a2[0]);
    expect(lab.run("node", "nft list set inet altrace killed6")).toContain(LAB.a1[1]);
    // Nobody tells the proxy anything.
    for (const one of open) expect((await ended(one, "ended")).ended).toBe("ConnectionResetError");
    const swept = await waitUntil("the sweep to be told", () => pipe.swept(no));
    expect(swept).toMatchObject({ errno: "0" });
    // One whose answer was not read may have ended them already.
    const counts = Array.from(
      { length: tries },
      (_, before) => pipe.swept(no - BigInt(before))?.count ?? 0,
    );
    expect(counts.reduce((all, count) => all + count, 0)).toBe(open.length);
    expect(neighbour.said.some((said) => said.ended !== undefined)).toBe(false);
    expect(pipe.kill("agent/research/nobody")).toBeUndefined();
    // Nobody has killed it, as the enforcer knows: what is closed is opened again.
    await waitUntil("the stray to be found", () =>
      enforcer.said.some(({ wrong }) => String(wrong).includes("closed that is not killed")),
    );
    await waitUntil("it to be opened", () => !held().includes(LAB.a1[0]));
    // Where the gate is closed already, as after a knock, sockets end first and the sets change after that.
    const later = await flow("a1");
    later.child.stdin?.write("wait\n");
    expect(pipe.end(AGENT)).toBeDefined();
    expect((await ended(later, "ended")).ended).toBe("ConnectionResetError");
    await waitUntil("the gate to be closed for good", () => held().includes(LAB.a1[0]));
    await waitUntil("it to be opened again", () => !held().includes(LAB.a1[0]));
    // Asked too late, and with words that are no question.
    const asked = openSync(ask, "w");
    const nowNs = systemClock.monoNs();
    writeSync(asked, `no question\n1 2\n7 ${nowNs} ${AGENT}\n8 ${nowNs + 10n ** 10n} nobody\n`);
    closeSync(asked);
    // A place that nobody has asked for yet holds zeros.
    const answers = () => readFileSync(say, "latin1").replaceAll("\0", " ").split(/ {2,}/);
    await waitUntil("the last answer", () => answers().includes("8 2 8"));
    expect(answers()).toContain("7 62 7");
    expect(held()).not.toContain(LAB.a1[0]);
    pipe.close();
  });

  test("a knock closes the gate within the call that makes it, for the proxy alone, until a revive", async () => {
    const knocked = async (address: string): Promise<unknown> => {
      probe.said.length = 0;
      probe.child.stdin?.write(`${address}\n`);
      return (await waitUntil("the knock", () => probe.said.find((one) => one.knocked === address)))
        .taken;
    };
    const held = () => lab.run("node", "nft list table inet altrace").match(/elements = \{ 0x.*/g);
    const chatty = await flow("a1");
    // The same words from a socket without the mark: anybody's, root's of the machine too.
    const forged =
      'import\tsocket;socket.socket(2,2).sendto(b"?\\x0a\\x4d\\x00\\x0b",("127.0.0.1",9))';
    lab.run("node", `python3 -c ${forged}`);
    expect(held()).toBeNull();
    for (const address of LAB.a1) expect(await knocked(address)).toBe(true);
    chatty.child.stdin?.write("chat 1\n");
    expect(String((await ended(chatty, "chat")).chat)).toMatch(/ConnectionReset|BrokenPipe/);
    expect(String(await connects("a1"))).toContain("ConnectionRefusedError");
    expect(String(await connects("a2"))).toContain("ConnectionResetError");
    expect(held()).toHaveLength(2);
    expect(await gate.ask({ t: "kill", scope: AGENT })).toEqual({});
    expect(await gate.ask({ t: "revive", scope: AGENT })).toEqual({});
    expect(held()).toBeNull();
    expect(String(await connects("a1"))).toContain("ConnectionResetError");
    // It must never be told that the gate is closed by rules that are not there.
    lab.run("node", "nft delete chain inet altrace knocks");
    expect(await knocked(LAB.a1[0])).toBe(false);
    await waitUntil("the rules to be mended", () =>
      lab.run("node", "nft list table inet altrace").includes("chain knocks"),
    );
    expect(await knocked(LAB.a1[0])).toBe(true);
    expect(await gate.ask({ t: "kill", scope: AGENT })).toEqual({});
    expect(await gate.ask({ t: "revive", scope: AGENT })).toEqual({});
  });

  test("ends open connections also where the proxy is stuck", async () => {
    const stuck = await flow("a1");
    stuck.child.stdin?.write("wait\n");
    expect(await lab.stop("node", PROXY)).toBe(1);
    try {
      await gate.ask({ t: "kill", scope: AGENT });
      expect((await ended(stuck, "ended")).ended).toBe("ConnectionResetError");
      await waitUntil("the sweep to be told", () =>
        enforcer.said.some(({ event }) => event === "sockets_swept"),
      );
    } finally {
      lab.signal("node", PROXY, "SIGCONT");
    }
    await gate.ask({ t: "revive", scope: AGENT });
  });
});
