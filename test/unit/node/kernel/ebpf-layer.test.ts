import { describe, expect, test } from "vitest";
import { EbpfLayer } from "../../../../node/kernel/ebpf-layer.ts";
import { podCgroupPaths } from "../../../../node/kernel/pod-cgroup.ts";

const UID = "0b5e3a52-6b1e-4c0a-9d55-1f0d4d3c2b1a";

/** A layer whose kernel does what it is told, and remembers it. */
function layerOf(groups: Record<string, bigint>) {
  const kernel = { refuses: "", batches: [] as string[] };
  const faults: string[] = [];
  const layer = new EbpfLayer({
    run: async (_program, args, input) => {
      const isRefused = kernel.refuses !== "" && args.join(" ").startsWith(kernel.refuses);
      if (args[0] === "batch") kernel.batches.push(input as string);
      return {
        code: isRefused ? 1 : 0,
        output: "",
        errors: isRefused ? "one\nError: no rights\ntwo" : "",
      };
    },
    object: "/o/agent.bpf.o",
    pins: "/p",
    groupOf: (uid) => {
      const id = groups[uid];
      return id === undefined ? undefined : { path: `/c/${uid}`, id };
    },
    onFault: (what) => faults.push(what),
  });
  return { layer, kernel, faults };
}

describe("the optional programs in the kernel", () => {
  test("B1: are attached once to each pod's group, and told of its kill and of its revive", async () => {
    const { layer, kernel } = layerOf({ a: 258n });
    await layer.load();
    for (const isKilled of [false, false, true, false]) await layer.sync([{ uid: "a", isKilled }]);
    expect(kernel.batches.map((text) => text.match(/attach/g)?.length)).toEqual([
      6,
      undefined,
      undefined,
    ]);
    expect(kernel.batches[0]).toContain(
      "cgroup attach /c/a connect4 pinned /p/programs/connect4\n",
    );
    expect(kernel.batches[1]).toBe(
      "map update pinned /p/maps/killed key hex 02 01 00 00 00 00 00 00 value hex 01 00 00 00\n",
    );
  });

  test("B3: a pod without a group is tried again, one that is gone forgotten", async () => {
    const groups: Record<string, bigint> = {};
    const { layer, kernel } = layerOf(groups);
    await layer.load();
    await layer.sync([{ uid: "a", isKilled: true }]);
    expect(kernel.batches).toEqual([]);
    groups.a = 1n;
    await layer.sync([{ uid: "a", isKilled: true }]);
    expect(kernel.batches).toHaveLength(1);
    await layer.sync([]);
    expect(layer.podCount).toBe(0);
  });

  test("B3: a kernel that refuses is told of once, and nothing is tried that was not loaded", async () => {
    const { layer, kernel, faults } = layerOf({ a: 1n });
    kernel.refuses = "prog loadall";
    expect(await layer.load()).toBe(false);
    await layer.sync([{ uid: "a", isKilled: true }]);
    expect([kernel.batches, faults]).toEqual([[], ["not loaded: Error: no rights"]]);
    kernel.refuses = "batch";
    await layer.load();
    for (let i = 0; i < 2; i++) await layer.sync([{ uid: "a", isKilled: true }]);
    expect(kernel.batches).toHaveLength(2);
    expect(faults).toEqual(["not loaded: Error: no rights", "not attached: Error: no rights"]);
  });

  test("what changes while it is told is told too", async () => {
    const { layer, kernel } = layerOf({ a: 1n });
    await layer.load();
    const first = layer.sync([{ uid: "a", isKilled: false }]);
    await layer.sync([{ uid: "a", isKilled: true }]);
    await first;
    expect(kernel.batches.at(-1)).toContain("value hex 01");
  });

  test("finds a pod's group by its uid alone, and by none that is a path", () => {
    expect(podCgroupPaths(UID)).toContain(
      `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID.replaceAll("-", "_")}.slice`,
    );
    expect(podCgroupPaths(UID)).toContain(`kubepods/pod${UID}`);
    expect(podCgroupPaths("../../system.slice")).toEqual([]);
  });
});
