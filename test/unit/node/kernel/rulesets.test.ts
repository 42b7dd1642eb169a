import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { daemonsetRuleset } from "../../../../node/kernel/daemonset-ruleset.ts";
import { type KernelView, KernelViewError, PODS_MAX } from "../../../../node/kernel/kernel-view.ts";
import { sidecarRuleset } from "../../../../node/kernel/sidecar-ruleset.ts";

const golden = (name: string) => join(import.meta.dirname, "golden", `${name}.nft`);

const ROUTED: KernelView = {
  infra: ["lo", "eth0"],
  bridges: [],
  pods: [
    { link: "cali1", addresses: ["10.77.0.11", "fd77::11"], exempt: false },
    { link: "cali2", addresses: ["10.77.0.12"], exempt: false },
    { link: "cali3", addresses: ["10.77.0.13"], exempt: true },
  ],
  killed: ["10.77.0.12", "fd77::11"],
};

const BRIDGED: KernelView = {
  infra: ["lo", "eth0"],
  bridges: [{ link: "cni0", mac: "02:00:00:00:00:01" }],
  pods: [
    { link: "cni0", port: "veth1", addresses: ["10.88.0.11", "fd88::11"], exempt: false },
    { link: "cni0", port: "veth2", addresses: ["10.88.0.12"], exempt: true },
  ],
  killed: [],
};

describe("rulesets are texts that are compared word for word", () => {
  test("of a machine with routed pods", async () => {
    await expect(daemonsetRuleset(ROUTED)).toMatchFileSnapshot(golden("daemonset-routed"));
  });

  test("of a machine with a bridge", async () => {
    await expect(daemonsetRuleset(BRIDGED)).toMatchFileSnapshot(golden("daemonset-bridged"));
  });

  test("of a sidecar that tells the proxy by its user", async () => {
    const text = sidecarRuleset({ link: "eth0", closedPorts: [4_090, 4_091] });
    await expect(text).toMatchFileSnapshot(golden("sidecar"));
  });

  test("of a sidecar that tells the proxy by its control group", async () => {
    const cgroup = { path: "kubepods/pod1/proxy", level: 3 };
    const text = sidecarRuleset({ link: "eth0", closedPorts: [], cgroup });
    await expect(text).toMatchFileSnapshot(golden("sidecar-cgroup"));
  });
});

describe("a ruleset", () => {
  test("is the same text for the same pods in another order", () => {
    const other = { ...ROUTED, pods: ROUTED.pods.toReversed(), killed: ROUTED.killed.toReversed() };
    expect(daemonsetRuleset(other)).toBe(daemonsetRuleset(ROUTED));
  });

  test("R6: names the killed, so that loading it again revives nobody", () => {
    const text = daemonsetRuleset(ROUTED);
    expect(text).toContain("set killed4 { type ipv4_addr; elements = { 10.77.0.12 }; }");
    expect(text).toContain("set killed6 { type ipv6_addr; elements = { fd77::11 }; }");
  });

  test("accepts nothing because it is established, except replies", () => {
    for (const text of [daemonsetRuleset(ROUTED), daemonsetRuleset(BRIDGED)]) {
      const accepting = text.split("\n").filter((line) => /established.*accept/.test(line));
      expect(accepting.filter((line) => !line.includes("ct direction reply"))).toEqual([]);
    }
  });

  const pod = { link: "p1", addresses: ["10.0.0.1"], exempt: false };
  const wrong: readonly [string, Partial<KernelView>][] = [
    ["a name that would end its quotes", { pods: [{ ...pod, link: 'p1" } accept #' }] }],
    ["a name with a line end", { infra: ["lo\n accept"] }],
    ["a name that is too long for an interface", { infra: ["a".repeat(16)] }],
    ["an address that is a rule", { pods: [{ ...pod, addresses: ["10.0.0.1 } accept"] }] }],
    ["a prefix in place of an address", { pods: [{ ...pod, addresses: ["10.0.0.0/8"] }] }],
    ["an address with a zone", { killed: ["fe80::1%eth0"] }],
    ["an address that two pods have", { pods: [pod, { ...pod, link: "p2" }] }],
    ["a pod behind an interface that leads elsewhere", { pods: [{ ...pod, link: "eth0" }] }],
    ["a port of a bridge that is not there", { pods: [{ ...pod, port: "v1" }] }],
    ["no interface that leads elsewhere", { infra: [] }],
    ["a bridge without a MAC address", { bridges: [{ link: "br0", mac: "accept" }] }],
    ["more pods than a machine runs", { pods: new Array(PODS_MAX + 1).fill(pod) }],
  ];
  test.each(wrong)("is not made with %s", (_, change) => {
    expect(() => daemonsetRuleset({ ...ROUTED, ...change })).toThrow(KernelViewError);
  });

  test("of a sidecar is not made with a name, a port or a group that is none", () => {
    const right = { link: "eth0", closedPorts: [4_091] };
    const cgroup = { path: 'a" accept', level: 1 };
    for (const view of [
      { ...right, link: "a b" },
      { ...right, closedPorts: [0] },
      { ...right, cgroup },
    ])
      expect(() => sidecarRuleset(view)).toThrow(KernelViewError);
  });
});
