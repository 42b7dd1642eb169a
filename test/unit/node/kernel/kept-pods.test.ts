import { expect, test } from "vitest";
import { KeptPods } from "../../../../node/kernel/kept-pods.ts";
import { mapPods, type ShownLink } from "../../../../node/kernel/link-map.ts";
import type { Pod } from "../../../../node/kernel/pod.ts";

const pod = (name: string, address: string): Pod => ({
  ...{ uid: name, namespace: "n", name, agent: undefined, exempt: true, canary: false },
  addresses: [address],
});
const ROUTED = pod("routed", "10.0.0.1");
const BRIDGED = pod("bridged", "10.88.0.5");
const LINKS: readonly ShownLink[] = [
  { ifname: "eth0", ifindex: 2 },
  { ifname: "cali1", ifindex: 7 },
  { ifname: "br0", ifindex: 3, address: "02:00:00:00:00:01", linkinfo: { info_kind: "bridge" } },
  { ifname: "veth1", ifindex: 8, master: "br0" },
];
const MACHINE = {
  links: LINKS,
  routes: [{ dst: "10.0.0.1", dev: "cali1" }],
  noted: [{ addresses: ["10.88.0.5"], links: ["br0", "veth1"] }],
};

function keptPods(
  disk: { text?: string; isFull?: boolean; isReadOnly?: boolean },
  boot = "b1",
  exempt = "n",
) {
  const faults: string[] = [];
  const pods = new KeptPods({
    boot,
    isExempt: (namespace) => namespace === exempt,
    read: () => disk.text,
    write: (text) => {
      if (disk.isFull) throw new Error("ENOSPC");
      disk.text = text;
    },
    remove: () => {
      if (disk.isReadOnly) throw new Error("EROFS");
      delete disk.text;
    },
    onFault: (what) => faults.push(what),
  });
  return { pods, faults };
}

function kept(): { text?: string } {
  const disk = {};
  const { placed } = mapPods(MACHINE, [ROUTED, BRIDGED], ["eth0"]);
  keptPods(disk).pods.keep(placed, MACHINE);
  return disk;
}

/** The machine with one link changed. */
const after = (ifname: string, change: Partial<ShownLink>) => ({
  ...MACHINE,
  links: LINKS.map((link) => (link.ifname === ifname ? { ...link, ...change } : link)),
});

test("pods that are where they were are known again as they were", () => {
  expect(keptPods(kept()).pods.on(MACHINE, ["eth0"])).toEqual([ROUTED, BRIDGED]);
  expect(keptPods({}).pods.on(MACHINE, ["eth0"])).toEqual([]);
});

test.each([
  ["another interface of the same name", after("cali1", { ifindex: 17 }), [BRIDGED]],
  ["another port of the same name", after("veth1", { ifindex: 18 }), [ROUTED]],
  ["another bridge of the same name", after("br0", { ifindex: 13 }), [ROUTED]],
  ["an interface without a number", after("cali1", { ifindex: undefined as never }), [BRIDGED]],
  [
    "a route to another one",
    { ...MACHINE, routes: [{ dst: "10.0.0.1", dev: "veth1" }] },
    [BRIDGED],
  ],
  ["no route", { ...MACHINE, routes: [] }, [BRIDGED]],
])("a pod that would come by %s is a stranger", (_, machine, known) => {
  expect(keptPods(kept()).pods.on(machine, ["eth0"])).toEqual(known);
});

test("they are asked after anew, as the machine is then, and of what was read at first", () => {
  const disk = kept();
  const { pods } = keptPods(disk);
  expect(pods.on(MACHINE, ["eth0"])).toHaveLength(2);
  delete disk.text;
  expect(pods.on(after("cali1", { ifindex: 17 }), ["eth0"])).toEqual([BRIDGED]);
});

test("of two of one name each counts for its own interface alone", () => {
  const disk: { text?: string } = {};
  const other = { ...ROUTED, addresses: ["10.0.0.2"] };
  const routes = (first: string, second: string) => [
    { dst: "10.0.0.1", dev: first },
    { dst: "10.0.0.2", dev: second },
  ];
  const before = { ...MACHINE, routes: routes("cali1", "eth1") };
  const links = [...LINKS, { ifname: "eth1", ifindex: 9 }];
  const { placed } = mapPods({ ...before, links }, [ROUTED, other], ["eth0"]);
  keptPods(disk).pods.keep(placed, { links });
  const crossed = { ...MACHINE, links, routes: routes("eth1", "eth1") };
  expect(keptPods(disk).pods.on(crossed, ["eth0"])).toEqual([other]);
});

test("who was exempt and is so no more is a stranger", () => {
  const disk: { text?: string } = {};
  const governed = { ...BRIDGED, exempt: false };
  const { placed } = mapPods(MACHINE, [ROUTED, governed], ["eth0"]);
  keptPods(disk).pods.keep(placed, MACHINE);
  expect(keptPods(disk, "b1", "other").pods.on(MACHINE, ["eth0"])).toEqual([governed]);
});

test("after a boot, or where the interface leads elsewhere now, nobody is known", () => {
  expect(keptPods(kept(), "b2").pods.on(MACHINE, ["eth0"])).toEqual([]);
  expect(keptPods(kept()).pods.on(MACHINE, ["eth0", "cali*", "br0"])).toEqual([]);
});

test.each(["", "{", "null", '{"boot":"b1"}', '{"boot":"b1","pods":[{}]}'])(
  "what lies there and is %j is told, and nobody is known",
  (text) => {
    const { pods, faults } = keptPods({ text });
    expect(pods.on(MACHINE, ["eth0"])).toEqual([]);
    expect(faults).toHaveLength(1);
  },
);

test("what cannot be kept leaves nothing older, and is tried again", () => {
  const disk = { ...kept(), isFull: true, isReadOnly: true };
  const { pods, faults } = keptPods(disk);
  const { placed } = mapPods(MACHINE, [ROUTED], ["eth0"]);
  pods.keep(placed, MACHINE);
  disk.isReadOnly = false;
  pods.keep(placed, MACHINE);
  expect(faults).toEqual([
    "the pods cannot be kept: ENOSPC; those before stay: EROFS",
    "the pods cannot be kept: ENOSPC",
  ]);
  expect(disk.text).toBeUndefined();
  disk.isFull = false;
  pods.keep(placed, MACHINE);
  expect(keptPods(disk).pods.on(MACHINE, ["eth0"])).toEqual([ROUTED]);
});
