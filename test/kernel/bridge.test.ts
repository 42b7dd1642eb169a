import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { KernelView } from "../../node/kernel/kernel-view.ts";
import { mapPods, type ShownLink, type ShownRoute } from "../../node/kernel/link-map.ts";
import { RuleKeeper } from "../../node/kernel/rule-keeper.ts";
import { KernelLab, kernelUnavailable, LAB, type Speaker } from "../support/kernel-lab.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { FarSide } from "./far-side.ts";

vi.setConfig(E2E_TIMEOUTS);

const unavailable = kernelUnavailable();
const BETWEEN = [
  ...["pod-tcp4", "pod-tcp6", "pod-udp4", "pod-icmp4", "pod-protocol4-253"],
  ...["pod-link-ethertype", "pod-link-mpls", "pod-link-vlan", "pod-link-priority"],
  ...["pod-link-provider", "pod-link-arp-asks", "pod-link-arp-says"],
];

describe.skipIf(unavailable !== undefined)("bridge: a machine whose pods hang on a bridge", () => {
  let lab: KernelLab;
  let far: FarSide;
  let keeper: RuleKeeper;
  let probe: Speaker;

  beforeAll(async () => {
    lab = new KernelLab("bridged");
    far = await FarSide.open(lab);
    keeper = new RuleKeeper(lab.host);
    probe = await lab.captureProbe();
  });
  beforeEach(() => far.forget());
  afterAll(() => lab?.[Symbol.dispose]());

  /** As the enforcer finds it: from the machine's own interfaces, and the network plugin's notes. */
  const view = (): KernelView => {
    const links = JSON.parse(lab.run("node", "ip -d -j link show")) as ShownLink[];
    const routes = JSON.parse(lab.run("node", "ip -j -4 route show")) as ShownRoute[];
    const noted = [
      { addresses: LAB.a1, links: ["br0", "p1"] },
      { addresses: LAB.a2, links: ["br0", "p2"] },
    ];
    const pods = (["a1", "a2"] as const).map((name) => ({
      ...{ uid: name, namespace: "x", name, agent: undefined, exempt: false, canary: false },
      addresses: LAB[name],
    }));
    const mapped = mapPods({ links, routes, noted }, pods, ["ext*"]);
    expect(mapped.unplaced).toEqual([]);
    return { ...mapped.view, killed: [] };
  };

  test("control, link: pods reach one another when there are no rules", async () => {
    const attacks = await lab.attack({ only: BETWEEN });
    expect([...(await far.reached(attacks))].sort()).toEqual(BETWEEN.toSorted());
  });

  test.each([0, 1])("link: no pod reaches another (bridge-nf-call %i)", async (call) => {
    for (const family of ["iptables", "ip6tables"])
      lab.run("node", `tee /proc/sys/net/bridge/bridge-nf-call-${family}`, String(call));
    await keeper.load(view());
    await lab.attack({ only: BETWEEN });
    expect(await far.leaks()).toEqual([]);
    expect(probe.said).toContainEqual({
      captured: LAB.a1[0],
      dst: `${LAB.a2[0]}:7000`,
      allowed: false,
    });
    expect(probe.said).toContainEqual({
      captured: LAB.a1[1],
      dst: `${LAB.a2[1]}:7000`,
      allowed: false,
    });
    expect(await keeper.missing(() => [])).toEqual([]);
  });

  test("lets nothing out, and no pod speak for another", async () => {
    await keeper.load(view());
    await lab.attack();
    expect(await far.leaks()).toEqual([]);
  });

  test("drops everything of a port that is not known", async () => {
    const known = view();
    await keeper.load({ ...known, pods: known.pods.slice(1) });
    await lab.attack({ only: [...BETWEEN, "tcp4-443", "udp4-443"] });
    expect(await far.leaks()).toEqual([]);
  });
});
