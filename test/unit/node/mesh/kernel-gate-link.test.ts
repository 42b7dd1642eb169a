import { describe, expect, test } from "vitest";
import type { MeshRecord } from "../../../../mesh/record.ts";
import type { GateQuestion } from "../../../../node/kernel/gate-messages.ts";
import type { Swept } from "../../../../node/mesh/gate-pipe.ts";
import {
  GATE_WAIT_MS,
  KernelGateLink,
  TOLD_AFTER_MS,
} from "../../../../node/mesh/kernel-gate-link.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { parseScope } from "../../../../proto/ids.ts";

function record(op: "kill" | "revive", scope: string): MeshRecord {
  return { op: { case: op }, scope, parsed: parseScope(scope) } as unknown as MeshRecord;
}

function linkOf() {
  const clock = twinClock();
  const sent: GateQuestion[] = [];
  const faults: string[] = [];
  const states: string[] = [];
  const ends: (() => void)[] = [];
  const takes: ((message: unknown) => void)[] = [];
  const pipe = {
    takes: false,
    asked: [] as string[],
    ended: [] as string[],
    knocks: undefined as string[] | undefined,
    swept: undefined as Swept | undefined,
  };
  const link = new KernelGateLink({
    clock,
    connect: ({ onMessage, onEnd }) => {
      takes.push(onMessage);
      ends.push(onEnd);
      return { send: (message) => sent.push(message), close: onEnd };
    },
    pipe: {
      open: () => undefined,
      kill: (scope) => (pipe.takes ? BigInt(pipe.asked.push(scope)) : undefined),
      end: (scope) => BigInt(pipe.ended.push(scope)),
      swept: () => pipe.swept,
      close: () => undefined,
    },
    knock: {
      setPods: (pods) => {
        pipe.knocks = pods.map(({ address }) => address);
      },
      close: () => pipe.knocks !== undefined,
    },
    killed: () => new Set(["global", "contract/c-1", "team/research", "agent/a/b", "key/k-1"]),
    onFault: (what) => faults.push(what),
    onState: (faults) => states.push(faults.map(({ rc }) => rc).join()),
  });
  const done: bigint[] = [];
  const swept: (readonly [count: number, atNs: bigint])[] = [];
  const on = {
    done: (atNs: bigint) => done.push(atNs),
    swept: (count: number, atNs: bigint) => swept.push([count, atNs]),
  };
  const kill = (scope = "agent/research/worker-1") => link.gate(record("kill", scope), on);
  const shut = (scope: string) => link.shut(record("kill", scope));
  const revive = (scope: string) => link.gate(record("revive", scope), on);
  const answer = (message: unknown) => takes.at(-1)?.(message);
  const end = () => ends.at(-1)?.();
  return {
    link,
    clock,
    sent,
    faults,
    states,
    done,
    swept,
    on,
    kill,
    shut,
    revive,
    answer,
    pipe,
    end,
  };
}

describe("the mesh thread's end of the gate", () => {
  test("K1: says what is killed first, on every connection", () => {
    const { link, sent, clock, end } = linkOf();
    link.open();
    end();
    clock.advance(1_000);
    expect(sent.map(({ t }) => t)).toEqual(["killed", "killed"]);
    // Of what has pods: contracts and keys may be more than a line has room for.
    for (const one of sent)
      expect(one).toMatchObject({ scopes: ["global", "team/research", "agent/a/b"] });
  });

  test("tells when the kernel had it", () => {
    const { link, done, kill, answer, sent, clock } = linkOf();
    link.open();
    kill();
    expect(done).toEqual([]);
    clock.advance(1);
    answer({ t: "done", n: sent.at(-1)?.n });
    expect(done).toEqual([clock.monoNs()]);
  });

  test("K5: what the short way has closed is told at once, and said the long way all the same", () => {
    const { link, done, kill, revive, answer, sent, pipe, clock, faults } = linkOf();
    link.open();
    pipe.takes = true;
    expect(kill()).toBe(clock.monoNs());
    expect(pipe.asked).toEqual(["agent/research/worker-1"]);
    expect(sent.at(-1)).toMatchObject({ t: "kill", scope: "agent/research/worker-1" });
    answer({ t: "done", n: sent.at(-1)?.n });
    clock.advance(GATE_WAIT_MS);
    expect([done, faults]).toEqual([[], []]);
    // A revive has one way alone, and so has a contract.
    revive("team/research");
    expect(kill(`contract/${"c".repeat(43)}`)).toBeUndefined();
    expect(pipe.asked).toHaveLength(1);
    pipe.takes = false;
    expect(kill()).toBeUndefined();
  });

  test("K5: what a knock has closed is closed, told the enforcer, and its sockets are ended", () => {
    const { link, shut, sent, pipe, clock, answer, on, swept, faults, done } = linkOf();
    const scope = "agent/research/worker-1";
    expect(shut(scope)).toBeUndefined();
    link.open();
    // Nobody has said yet who has which address.
    expect(shut(scope)).toBeUndefined();
    answer({ t: "pods", pods: [{ address: "10.0.0.1", namespace: "", name: "one" }] });
    expect(pipe.knocks).toEqual(["10.0.0.1"]);
    const closed = shut(scope);
    expect(closed).toEqual({ atNs: clock.monoNs(), asked: 1n });
    expect(pipe.ended).toEqual([scope]);
    expect(sent).toHaveLength(1);
    pipe.swept = { errno: "0", count: 2, atNs: 9n };
    expect(link.gate(record("kill", scope), on, closed)).toBe(closed?.atNs);
    clock.advance(TOLD_AFTER_MS);
    expect(sent.at(-1)).toMatchObject({ t: "kill", scope });
    clock.advance(GATE_WAIT_MS);
    expect({ asked: pipe.asked, swept, faults, done }).toEqual({
      ...{ asked: [], faults: [], done: [] },
      swept: [[2, 9n]],
    });
    // A contract has no address.
    expect(shut(`contract/${"c".repeat(43)}`)).toBeUndefined();
  });

  test("K7: of what a knock has closed the enforcer is told later, and before anything else", () => {
    const { link, shut, kill, revive, sent, answer, on, end, clock } = linkOf();
    const [scope, other] = ["agent/research/worker-1", "agent/research/worker-2"];
    const words = () => sent.map((one) => (one.t === "killed" ? one.t : `${one.t} ${one.scope}`));
    const knocked = (which: string) => link.gate(record("kill", which), on, shut(which));
    link.open();
    answer({ t: "pods", pods: [] });
    knocked(scope);
    knocked(other);
    expect(words()).toEqual(["killed"]);
    clock.advance(TOLD_AFTER_MS);
    expect(words()).toEqual(["killed", `kill ${scope}`, `kill ${other}`]);
    knocked(scope);
    revive(scope);
    kill(other);
    expect(words().slice(3)).toEqual([`kill ${scope}`, `revive ${scope}`, `kill ${other}`]);
    knocked(scope);
    link.close();
    expect(words().slice(6)).toEqual([`kill ${scope}`]);
    clock.advance(TOLD_AFTER_MS);
    expect(sent).toHaveLength(7);
    const lost = linkOf();
    lost.link.open();
    lost.answer({ t: "pods", pods: [] });
    lost.link.gate(record("kill", scope), lost.on, lost.shut(scope));
    lost.end();
    lost.clock.advance(1_000);
    // The second of them is the next connection's first word, which names all that is killed.
    expect(lost.sent.map(({ t }) => t)).toEqual(["killed", "killed"]);
    end();
  });

  test("a knock whose enforcer has gone meanwhile stays closed, and is told with the rest", () => {
    const { link, shut, sent, answer, on, end, done, clock } = linkOf();
    link.open();
    answer({ t: "pods", pods: [] });
    const closed = shut("global");
    end();
    expect(link.gate(record("kill", "global"), on, closed)).toBe(closed?.atNs);
    clock.advance(1_000);
    expect(sent.map(({ t }) => t)).toEqual(["killed", "killed"]);
    expect(done).toEqual([]);
  });

  test("K6: what was swept is told of the latest kill of the scope, whoever swept", () => {
    const { link, kill, revive, answer, pipe, swept, faults, clock } = linkOf();
    const scope = "agent/research/worker-1";
    link.open();
    pipe.takes = true;
    kill();
    clock.advance(5);
    expect(swept).toEqual([]);
    pipe.swept = { errno: "0", count: 2, atNs: 7n };
    clock.advance(1_000);
    expect(swept).toEqual([[2, 7n]]);
    answer({ t: "swept", scope, count: 1, atUs: 9 });
    for (const wrong of [{ count: -1 }, { atUs: 0.5 }, { scope: "team/other" }])
      answer({ t: "swept", scope, count: 1, atUs: 9, ...wrong });
    expect(swept).toEqual([
      [2, 7n],
      [1, 9_000n],
    ]);
    pipe.swept = { errno: "95", count: 0, atNs: 7n };
    kill();
    clock.advance(5);
    expect(faults).toEqual(["the sockets of a kill were not swept: errno 95"]);
    revive(scope);
    answer({ t: "swept", scope, count: 1, atUs: 9 });
    expect(swept).toHaveLength(2);
  });

  test("K2: goes on without a gate that does not answer, and says so", () => {
    const { link, done, kill, faults, clock, answer, sent } = linkOf();
    link.open();
    kill();
    clock.advance(GATE_WAIT_MS);
    expect(done).toEqual([0n]);
    expect(faults.join()).toContain("not answered");
    answer({ t: "done", n: sent.at(-1)?.n });
    expect(done).toEqual([0n]);
  });

  test("K4: hands on what is wrong with the layer, and is itself a fault when it hears nothing", () => {
    const { link, answer, end, states } = linkOf();
    link.open();
    answer({ t: "state", wrong: [{ rc: "kernel_bypass", what: "a canary reached it" }] });
    answer({ t: "state", wrong: [] });
    answer({ t: "state", wrong: [{ rc: "all_is_well", what: "" }] });
    answer({ t: "state", wrong: "nothing" });
    end();
    const lost = "kernel_gate_lost";
    expect(states).toEqual(["kernel_bypass", "", lost, lost, lost]);
  });

  test("K3: goes on when the connection ends, when there is none, and when it is closed", () => {
    const { link, done, kill, end, clock } = linkOf();
    link.open();
    kill();
    end();
    expect(done).toEqual([0n]);
    kill();
    clock.advance(0);
    expect(done).toEqual([0n, 0n]);
    clock.advance(1_000);
    kill();
    link.close();
    expect(done).toEqual([0n, 0n, 0n]);
  });

  test("a refusal is no gate, and is told", () => {
    const { link, done, kill, answer, sent, faults } = linkOf();
    link.open();
    kill();
    answer({ t: "done", n: sent.at(-1)?.n, error: "errno 2" });
    expect(done).toEqual([0n]);
    expect(faults).toEqual(["the kernel gate: errno 2"]);
  });

  test("a contract has no address, so the gate is not asked", () => {
    const { link, done, kill, sent, clock } = linkOf();
    link.open();
    kill(`contract/${"a".repeat(43)}`);
    clock.advance(0);
    expect(sent.length).toBe(1);
    expect(done).toEqual([0n]);
  });
});
