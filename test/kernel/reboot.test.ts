import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { listPods, startEnforcer, writePodList } from "../support/kernel-enforcer.ts";
import { KernelLab, kernelUnavailable, LAB, type Speaker } from "../support/kernel-lab.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { waitUntil } from "../support/wait-until.ts";
import { Gate } from "./gate.ts";

vi.setConfig(E2E_TIMEOUTS);

describe.skipIf(kernelUnavailable() !== undefined)("reboot: a machine that comes back", () => {
  test("closes its gate before it knows any agent, so that no packet of a killed one gets to the proxy", async () => {
    using lab = new KernelLab();
    listPods(lab);
    await startEnforcer(lab);
    const gate = await Gate.open(lab);
    expect(await gate.ask({ t: "kill", scope: "agent/research/worker-1" })).toEqual({});
    const file = join(lab.folder, "state", "killed.json");
    // A moment after the answer.
    await waitUntil(
      "the kill to be written down",
      () => existsSync(file) && readFileSync(file, "utf8").includes("worker-1"),
    );
    gate.close();

    await lab.reboot();
    expect(lab.run("node", "nft list ruleset")).toBe("");
    // Pods are there before anybody tells the machine of them.
    writePodList(lab, []);
    const enforcer = await startEnforcer(lab);
    const probe = await lab.captureProbe();
    const knocking = (from: "a1" | "a2") =>
      lab.speak(from, ["python3", `${import.meta.dirname}/knocking.py`, "198.18.5.5"]);
    const [killed, neighbour] = [knocking("a1"), knocking("a2")];
    const becomes = (one: Speaker, how: string) =>
      waitUntil(
        () => `${how} among ${JSON.stringify(one.said.slice(-10))}`,
        () => one.said.some((said) => said.how === how),
      );
    await Promise.all([killed, neighbour].map((one) => becomes(one, "TimeoutError")));
    listPods(lab);
    await becomes(neighbour, "served");
    await becomes(killed, "ConnectionRefusedError");
    // As often again: what came in between is behind it.
    const before = killed.said.length;
    await waitUntil("more of them", () => killed.said.length > 2 * before);
    const captured = (address: string) => probe.said.some(({ held }) => held === address);
    expect([captured(LAB.a1[0]), captured(LAB.a2[0])]).toEqual([false, true]);
    expect(enforcer.said.filter(({ event }) => event === "rules_repaired")).toEqual([]);
  });
});
