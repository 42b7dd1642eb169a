import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { gateFiles, startEnforcer, writePodList } from "../support/kernel-enforcer.ts";
import { KernelLab, kernelUnavailable, LAB, type Speaker } from "../support/kernel-lab.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

/** Nobody is there. */
const CLUSTER_AWAY = {
  ALTRACE_PODS_FILE: undefined,
  ALTRACE_KUBERNETES_URL: "http://127.0.0.1:9",
  ALTRACE_KUBERNETES_NODE: "machine-1",
};

async function stopped({ child, exit }: Speaker): Promise<void> {
  child.kill("SIGTERM");
  expect(await exit).toBe(0);
}

describe.skipIf(kernelUnavailable() !== undefined)("an enforcer that starts", () => {
  test("while the cluster is away goes on with the pods that are where they were, and no others", async () => {
    using lab = new KernelLab();
    writePodList(lab, [
      { name: "one", agent: "research/worker-1", addresses: LAB.a1 },
      { name: "dns", addresses: LAB.a2, exempt: true },
    ]);
    const setOf = (name: string) => lab.run("node", `nft list set inet altrace ${name}`);
    const before = await startEnforcer(lab);
    // Kept once it is in force.
    const kept = join(lab.folder, "state", "pods.json");
    await waitUntil("both pods to be kept", () => readFileSync(kept, "utf8").includes('"dns"'));
    expect(setOf("exempt4")).toContain(LAB.a2[0]);
    await stopped(before);

    const alone = await startEnforcer(lab, CLUSTER_AWAY);
    // With the first rules already: of none at all, all pods would be cut off until there is a list.
    expect(alone.said.filter(({ event }) => event === "rules_loaded")).toMatchObject([{ pods: 2 }]);
    for (const [at, address] of LAB.a1.entries()) {
      expect(setOf(`assigned${at === 0 ? 4 : 6}`)).toContain(`"p1" . ${address}`);
      expect(setOf(`exempt${at === 0 ? 4 : 6}`)).toContain(`"p2" . ${LAB.a2[at]}`);
    }
    expect(JSON.parse(readFileSync(gateFiles(lab).pods, "utf8"))).toEqual(
      LAB.a1.map((address) => ({ name: "one", agent: "research/worker-1", addresses: [address] })),
    );
    await stopped(alone);

    // The pod is another one, which was given the same address and a link of the same name.
    const another = (link: string, [v4, v6]: readonly [string, string]) => {
      for (const line of [
        `link del ${link}`,
        `link add ${link} type veth peer name ${link}x`,
        `link set ${link} up`,
        `route add ${v4}/32 dev ${link}`,
        `route add ${v6}/128 dev ${link}`,
      ])
        lab.run("node", `ip ${line}`);
    };
    another("p2", LAB.a2);
    const later = await startEnforcer(lab, CLUSTER_AWAY);
    expect(later.said.filter(({ event }) => event === "rules_loaded")).toMatchObject([{ pods: 1 }]);
    expect(setOf("exempt4")).not.toContain(LAB.a2[0]);
    expect(setOf("assigned4")).toContain(LAB.a1[0]);

    // And so while it runs, for as long as nobody tells of the pods.
    another("p1", LAB.a1);
    lab.run("node", "ip link add later0 type bridge");
    await waitUntil("the machine to be read after that", () =>
      lab.run("node", "nft list tables").includes("altrace_br"),
    );
    expect(setOf("assigned4")).not.toContain(LAB.a1[0]);
    await waitUntil("nobody to be told", () => readFileSync(gateFiles(lab).pods, "utf8") === "[]");
    await stopped(later);
  });
});
