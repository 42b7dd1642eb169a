import { describe, expect, test } from "vitest";
import { readCniResult } from "../../../../node/kernel/cni-result.ts";
import { settleAddresses } from "../../../../node/kernel/contested.ts";
import { mapPods } from "../../../../node/kernel/link-map.ts";
import type { Pod } from "../../../../node/kernel/pod.ts";
import { PodListError, readPod, readPodList } from "../../../../node/kernel/pod-list.ts";

const SHOWN = {
  metadata: {
    uid: "u1",
    name: "worker-0",
    namespace: "agents",
    labels: { "altrace.io/team": "research", "altrace.io/agent": "worker-1" },
  },
  status: { phase: "Running", podIP: "10.0.0.1", podIPs: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }] },
};

describe("a pod of the cluster", () => {
  test("is the agent that its labels name, with all its addresses", () => {
    expect(readPod(SHOWN, [])).toEqual({
      uid: "u1",
      namespace: "agents",
      name: "worker-0",
      agent: { team: "research", agent: "worker-1" },
      addresses: ["10.0.0.1", "fd00::1"],
      exempt: false,
      canary: false,
    });
  });

  test.each([
    {},
    { "altrace.io/team": "research" },
    { "altrace.io/team": "research", "altrace.io/agent": "Worker/1" },
  ])("with the labels %j is a stranger, never somebody else", (labels) => {
    const pod = readPod({ ...SHOWN, metadata: { ...SHOWN.metadata, labels } }, []);
    expect(pod).toMatchObject({ agent: undefined, exempt: false });
  });

  test("in the machine's own network, or at its end, has no network of its own", () => {
    expect(readPod({ ...SHOWN, spec: { hostNetwork: true } }, [])).toBeUndefined();
    for (const phase of ["Succeeded", "Failed"])
      expect(readPod({ ...SHOWN, status: { ...SHOWN.status, phase } }, [])).toBeUndefined();
  });

  test("of an exempt namespace is exempt, unless it is a canary, which must be caught", () => {
    expect(readPod(SHOWN, ["agents"])?.exempt).toBe(true);
    const labels = { "altrace.io/canary": "true" };
    const canary = readPod({ ...SHOWN, metadata: { ...SHOWN.metadata, labels } }, ["agents"]);
    expect(canary).toMatchObject({ exempt: false, canary: true });
    const agents = readPod({ ...SHOWN, metadata: { ...SHOWN.metadata, labels } }, ["kube-system"]);
    expect(agents).toMatchObject({ exempt: false, canary: false });
  });
});

describe("E5: an address that several pods have", () => {
  const pod = (name: string, addresses: readonly string[], more: Partial<Pod> = {}): Pod => ({
    ...{ uid: name, namespace: "ns", name, agent: { team: "t", agent: name } },
    ...{ addresses, exempt: false, canary: false, ...more },
  });

  test("is a stranger's, and all the rest stays as it was", () => {
    const other = pod("c", ["10.0.0.3"]);
    const { pods, contested } = settleAddresses([
      pod("b", ["10.0.0.1", "fd00::2"]),
      pod("a", ["10.0.0.1", "FD00:0::1"], { exempt: true }),
      other,
    ]);
    expect(contested).toEqual([
      pod("ns/a+ns/b", ["10.0.0.1"], {
        ...{ uid: "contested/10.0.0.1", namespace: "", agent: undefined, isContested: true },
      }),
    ]);
    expect(pods.map(({ addresses }) => addresses)).toEqual([
      ["fd00::2"],
      ["FD00:0::1"],
      ["10.0.0.3"],
      ["10.0.0.1"],
    ]);
    expect(pods).toContain(contested[0]);
  });

  test("is known by its bytes, and is not contested by one pod that has it twice", () => {
    const twice = [pod("a", ["fd00::1", "FD00:0::1"])];
    expect(settleAddresses(twice)).toEqual({ pods: twice, contested: [] });
    const spelt = settleAddresses([pod("a", ["fd00::1"]), pod("b", ["FD00:0::1"])]);
    expect(spelt.contested.map(({ addresses }) => addresses)).toEqual([["fd00::1"]]);
  });

  test("comes in where all that claim it do, and is placed by nobody's word else", () => {
    const at = (link: string, name: string) => pod(name, ["10.0.0.1"], { link, port: "v1" });
    expect(settleAddresses([at("br0", "a"), at("br0", "b")]).contested[0]).toMatchObject({
      ...{ link: "br0", port: "v1" },
    });
    const [apart] = settleAddresses([at("br0", "a"), at("br1", "b")]).contested;
    expect([apart?.link, apart?.port]).toEqual([undefined, undefined]);
  });

  test("names four, and counts the rest", () => {
    const many = Array.from({ length: 6 }, (_, i) => pod(`p${i}`, ["10.0.0.1"]));
    expect(settleAddresses(many).contested[0]?.name).toBe("ns/p0+ns/p1+ns/p2+ns/p3+2-more");
  });
});

describe("a list of pods by hand", () => {
  test("names each with its agent and where it comes in", () => {
    const text = '[{"name":"a","agent":"t/w","addresses":["10.0.0.1"],"link":"veth1"}]';
    expect(readPodList(text)).toMatchObject([
      { uid: "a", agent: { team: "t", agent: "w" }, link: "veth1", exempt: false },
    ]);
  });

  test("has its addresses in the one spelling that the kernel shows, whoever wrote them", () => {
    const text = JSON.stringify([{ name: "one", addresses: ["FD00:0::1", "10.0.0.1"] }]);
    expect(readPodList(text)).toMatchObject([{ addresses: ["fd00::1", "10.0.0.1"] }]);
    const zoned = JSON.stringify([{ name: "one", addresses: ["fe80::1%eth0"] }]);
    expect(() => readPodList(zoned)).toThrow("addresses is no list of addresses");
    const metadata = { uid: "1", name: "one", namespace: "n" };
    const shown = { metadata, status: { podIP: "FD00::1", podIPs: [{ ip: "fd00::0:1" }] } };
    expect(readPod(shown, [])?.addresses).toEqual(["fd00::1"]);
  });

  test.each([
    ["{", "no JSON"],
    ["{}", "no array"],
    ["[null]", "name is missing"],
    ['[{"name":"a","addresses":["10.0.0.0/8"]}]', "no list of addresses"],
    ['[{"name":"a","agent":"t","addresses":[]}]', "not team/agent"],
    ['[{"name":"a","addresses":[],"link":3}]', "names of interfaces"],
  ])("that is %s is refused whole", (text, message) => {
    expect(() => readPodList(text)).toThrow(PodListError);
    expect(() => readPodList(text)).toThrow(message);
  });
});

describe("the machine's map", () => {
  const pod = (name: string, address: string): Pod => ({
    ...{ uid: name, namespace: "n", name, agent: undefined, exempt: false, canary: false },
    addresses: [address],
  });
  const machine = {
    links: [
      { ifname: "lo" },
      { ifname: "eth0" },
      { ifname: "vxlan.calico" },
      { ifname: "cali1@if2" },
      { ifname: "cni0", address: "02:00:00:00:00:01", linkinfo: { info_kind: "bridge" } },
      { ifname: "veth1@if2", master: "cni0" },
    ],
    routes: [
      { dst: "default", dev: "eth0" },
      { dst: "10.0.0.1", dev: "cali1" },
      { dst: "10.88.0.0/16", dev: "cni0" },
      { dst: "10.0.0.9", dev: "eth0" },
    ],
    noted: [{ addresses: ["10.88.0.5"], links: ["cni0", "veth1"] }],
  };

  test("finds a routed pod by its route, and a bridged one by the plugin's notes", () => {
    const pods = [pod("r", "10.0.0.1"), pod("b", "10.88.0.5")];
    const { view, unplaced } = mapPods(machine, pods, ["eth0", "vxlan.*"]);
    expect(view).toEqual({
      infra: ["eth0", "lo", "vxlan.calico"],
      bridges: [{ link: "cni0", mac: "02:00:00:00:00:01" }],
      pods: [
        { link: "cali1", addresses: ["10.0.0.1"], exempt: false },
        { link: "cni0", port: "veth1", addresses: ["10.88.0.5"], exempt: false },
      ],
    });
    expect(unplaced).toEqual([]);
  });

  test("leaves out what it cannot place, instead of guessing", () => {
    const pods = [pod("unknown", "10.0.0.7"), pod("bridged", "10.88.0.6"), pod("up", "10.0.0.9")];
    const { view, unplaced } = mapPods(machine, pods, ["eth0"]);
    expect(view.pods).toEqual([]);
    expect(unplaced.map(({ name }) => name)).toEqual(["unknown", "bridged"]);
  });

  test("reads the notes that the plugins' library keeps, and no others", () => {
    const note = {
      kind: "cniCacheV1",
      result: {
        interfaces: [
          { name: "cni0" },
          { name: "veth1" },
          { name: "eth0", sandbox: "/run/netns/x" },
        ],
        ips: [{ address: "10.88.0.5/16", interface: 2 }],
      },
    };
    expect(readCniResult(JSON.stringify(note))).toEqual({
      addresses: ["10.88.0.5"],
      links: ["cni0", "veth1"],
    });
    expect(readCniResult("{")).toBeUndefined();
    expect(readCniResult('{"result":{"ips":[{"address":"x"}]}}')).toBeUndefined();
  });
});
