import { describe, expect, test } from "vitest";
import { addressBytes } from "../../../../node/kernel/address-bytes.ts";
import { CLOSED_LATE_MS, KernelGate, SWEEP_AFTER_MS } from "../../../../node/kernel/kernel-gate.ts";
import { netlinkMessage } from "../../../../node/kernel/netlink-message.ts";
import type { Pod } from "../../../../node/kernel/pod.ts";
import { socketsRequest } from "../../../../node/kernel/socket-sweep.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";

const DONE = 3;
const BY_FAMILY = 20;
const DESTROY = 21;
const ENOENT = 2;
const EOPNOTSUPP = 95;

function answer(code: number): Buffer {
  const body = Buffer.alloc(20);
  body.writeInt32LE(-code, 0);
  return netlinkMessage({ type: 2, flags: 0, no: 1, body });
}

/** What the kernel says of a socket with this peer. */
function socketOf(peer: string): Buffer {
  const body = Buffer.alloc(72);
  body[0] = 2;
  body.set(addressBytes(peer), 24);
  return netlinkMessage({ type: BY_FAMILY, flags: 2, no: 1, body });
}

function pod(name: string, agent: string | undefined, ...addresses: string[]): Pod {
  const [team = "", own = ""] = (agent ?? "").split("/");
  return {
    uid: name,
    namespace: "n",
    name,
    agent: agent === undefined ? undefined : { team, agent: own },
    addresses,
    exempt: false,
    canary: false,
  };
}

const PODS = [
  pod("one", "research/worker-1", "10.0.0.1", "fd00::1"),
  pod("two", "research/worker-2", "10.0.0.2"),
  pod("three", "sales/worker-1", "10.0.0.3"),
  pod("stranger", undefined, "10.0.0.4"),
  { ...pod("dns", undefined, "10.0.0.5"), exempt: true },
];

/** A gate whose kernel keeps its sets as asked, and can be made to refuse. */
function gateOf(scopes: readonly string[] = []) {
  const clock = twinClock();
  const held = new Set<string>();
  const kept: (readonly string[])[] = [];
  const faults: string[] = [];
  const swept: string[] = [];
  const told: ReadonlyMap<string, readonly string[]>[] = [];
  const kernel = { errno: 0, batches: 0 };
  /** Of IPv4, as the kernel lists them, and what it says of each that is to be ended. */
  const open: { readonly peer: string; readonly errno: number }[] = [];
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  const known = PODS.flatMap(({ addresses }) => addresses);
  const netfilter = {
    request: (bytes: Uint8Array) => {
      kernel.batches += 1;
      if (kernel.errno !== 0) return answer(kernel.errno);
      for (const address of known) {
        const element = text(addressBytes(address));
        if (!text(bytes).includes(`0100${element}`)) continue;
        if (text(bytes).slice(48, 52) === "0c0a") held.add(address);
        else held.delete(address);
      }
      return answer(0);
    },
  };
  const ofIpv4 = socketsRequest(4);
  const sockets = {
    request: (bytes: Uint8Array) => {
      const ended = open.find(({ peer }) =>
        text(bytes).includes(`${text(addressBytes(peer))}0000`),
      );
      if (Buffer.from(bytes).readUInt16LE(4) === DESTROY) return answer(ended?.errno ?? ENOENT);
      const listed = text(bytes) === text(ofIpv4) ? open.map(({ peer }) => socketOf(peer)) : [];
      const done = netlinkMessage({ type: DONE, flags: 0, no: 1, body: Buffer.alloc(4) });
      return Buffer.concat([...listed, done]);
    },
  };
  const gate = new KernelGate(
    {
      clock,
      calls: { netfilter, sockets },
      onScopes: (addresses) => told.push(addresses),
      keep: (all) => kept.push(all),
      onSwept: (scope, count) => swept.push(`${scope}: ${count}`),
      onFault: (what) => faults.push(what),
    },
    scopes,
  );
  return { gate, clock, held, kept, faults, swept, open, kernel, told };
}

describe("the kernel gate", () => {
  test("G1: a kill is in the kernel's set in its own turn, for every address of the agent", () => {
    const { gate, held, kernel } = gateOf();
    gate.setPods(PODS);
    expect(gate.kill("agent/research/worker-1")).toEqual({ isGated: true, addresses: 2 });
    expect([...held].sort()).toEqual(["10.0.0.1", "fd00::1"]);
    // Both families in one request, and none for what is there.
    gate.kill("agent/research/worker-1");
    expect(kernel.batches).toBe(1);
  });

  test("G1: a kill of more addresses than one batch takes is in the kernel whole", () => {
    const { gate, kernel } = gateOf();
    const addresses = Array.from({ length: 2_500 }, (_, i) => `fd01::${(i + 1).toString(16)}`);
    gate.setPods([...PODS, pod("many", "research/worker-9", ...addresses)]);
    expect(gate.kill("team/research")).toEqual({ isGated: true, addresses: 2_503 });
    expect(kernel.batches).toBe(3);
  });

  test("a team's kill is its agents', and everybody's is the strangers' too but not the exempt's", () => {
    const { gate } = gateOf();
    gate.setPods(PODS);
    gate.kill("team/research");
    expect(gate.killedAddresses()).toEqual(["10.0.0.1", "10.0.0.2", "fd00::1"]);
    gate.kill("global");
    expect(gate.killedAddresses()).not.toContain("10.0.0.5");
    expect(gate.killedAddresses()).toContain("10.0.0.4");
  });

  test("a pod that comes after the kill of its agent is killed when it comes", () => {
    const { gate, held } = gateOf();
    gate.kill("agent/sales/worker-1");
    expect(held.size).toBe(0);
    gate.setPods(PODS);
    expect([...held]).toEqual(["10.0.0.3"]);
  });

  test("an address goes free with its pod, not with the revive of something else", () => {
    const { gate, held } = gateOf();
    gate.setPods(PODS);
    gate.kill("team/research");
    gate.kill("agent/research/worker-1");
    gate.revive("team/research");
    expect([...held].sort()).toEqual(["10.0.0.1", "fd00::1"]);
    gate.setPods(PODS.slice(1));
    expect(held.size).toBe(0);
  });

  test("G2: what is killed is written down, and stands from the start when it was", () => {
    const first = gateOf();
    first.gate.kill("agent/sales/worker-1");
    first.gate.kill("global");
    // Not before the answer, and both in one.
    expect(first.kept).toEqual([]);
    first.clock.advance(0);
    const [last] = first.kept;
    expect(last).toEqual(["agent/sales/worker-1", "global"]);
    const next = gateOf(last);
    next.gate.setPods(PODS);
    expect(next.held.size).toBe(5);
  });

  test("G3: sockets are swept after a while, unless it was revived by then", () => {
    const { gate, clock, swept } = gateOf();
    gate.setPods(PODS);
    gate.kill("team/research");
    gate.kill("team/sales");
    gate.revive("team/sales");
    expect(swept).toEqual([]);
    clock.advance(SWEEP_AFTER_MS);
    expect(swept).toEqual(["team/research: 0"]);
  });

  test("G3: a socket that the kernel does not end is told, and holds up none of the others", () => {
    const { gate, clock, swept, faults, open } = gateOf();
    gate.setPods(PODS);
    open.push({ peer: "10.0.0.1", errno: EOPNOTSUPP }, { peer: "10.0.0.2", errno: 0 });
    gate.kill("team/research");
    clock.advance(SWEEP_AFTER_MS);
    expect(swept).toEqual(["team/research: 1"]);
    expect(faults).toEqual(["sweep of team/research: ending a socket: errno 95"]);
  });

  test("G4: a load that was made before a kill does not undo it", () => {
    const { gate, held } = gateOf();
    gate.setPods(PODS);
    const rendered = gate.killedAddresses();
    gate.kill("agent/sales/worker-1");
    held.clear();
    gate.loaded(rendered);
    expect([...held]).toEqual(["10.0.0.3"]);
  });

  test("G5: what the helper closes after the revive is opened again, and nothing that is killed", () => {
    const { gate, clock, held } = gateOf();
    gate.setPods(PODS);
    gate.kill("team/research");
    gate.revive("team/research");
    expect(held.size).toBe(0);
    for (const late of ["10.0.0.1", "fd00::1", "10.0.0.2"]) held.add(late);
    gate.kill("agent/research/worker-2");
    clock.advance(CLOSED_LATE_MS);
    expect([...held]).toEqual(["10.0.0.2"]);
    // Whoever was killed before as well stays so, and so does who is killed again.
    gate.revive("agent/research/worker-2");
    gate.kill("agent/research/worker-2");
    clock.advance(CLOSED_LATE_MS);
    expect([...held]).toEqual(["10.0.0.2"]);
  });

  test("a kernel that refuses is told as a fault, and asked again with the next load", () => {
    const { gate, held, faults, kernel } = gateOf();
    gate.setPods(PODS);
    kernel.errno = 2;
    expect(gate.kill("agent/sales/worker-1")).toMatchObject({ isGated: false });
    expect(faults.length).toBe(1);
    kernel.errno = 0;
    gate.loaded([]);
    expect([...held]).toEqual(["10.0.0.3"]);
  });

  test("a scope without pods is refused: its kill is not the kernel's matter", () => {
    const { gate } = gateOf();
    for (const scope of ["policy", `contract/${"a".repeat(43)}`, "agent/x", "nonsense"])
      expect(gate.kill(scope)).toEqual({ isGated: false, error: "no pods have this scope" });
  });
});
