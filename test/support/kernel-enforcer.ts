import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type KernelLab, LAB, type Speaker } from "./kernel-lab.ts";
import { waitUntil } from "./wait-until.ts";

/** The list of pods that the lab's enforcer reads, with both of the lab's own. */
export function listPods(lab: KernelLab, more: readonly object[] = []): void {
  const pods = [
    { name: "one", agent: "research/worker-1", addresses: LAB.a1 },
    { name: "two", agent: "research/worker-2", addresses: LAB.a2 },
    ...more,
  ];
  writePodList(lab, pods);
}

/** Any list of pods. */
export function writePodList(lab: KernelLab, pods: readonly object[]): void {
  writeFileSync(join(lab.folder, "pods.json"), JSON.stringify(pods));
}

/** Images bring no names of protocols and services, and rules must be read without them. */
const SLIM = Object.fromEntries(
  ["/etc/protocols", "/etc/services"].filter(existsSync).map((path) => [path, "/dev/null"]),
);

/** Where the enforcer listens for the node, and writes who is where. */
export function gateFiles(lab: KernelLab): { readonly socket: string; readonly pods: string } {
  const run = join(lab.folder, "run");
  return { socket: join(run, "gate.sock"), pods: join(run, "pods.json") };
}

/** Starts the enforcer of the lab's machine with what the manifests give it, less what is undefined. */
export async function startEnforcer(
  lab: KernelLab,
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<Speaker> {
  const { socket } = gateFiles(lab);
  rmSync(socket, { force: true });
  const enforcer = lab.launch("node", {
    flags: ["--netlink"],
    capabilities: ["net_admin"],
    script: "cli/altrace.js",
    args: ["enforcer", "--infra-links", "lo,ext0", "--enforcer-metrics-port", "0"],
    files: SLIM,
    env: given({
      ALTRACE_PODS_FILE: join(lab.folder, "pods.json"),
      ALTRACE_GATE_SOCKET: socket,
      ALTRACE_GATE_HELPER: lab.gateHelper(),
      ALTRACE_ENFORCER_STATE: join(lab.folder, "state"),
      ALTRACE_CNI_RESULTS: join(lab.folder, "none"),
      ...env,
    }),
  });
  await waitUntil(
    () => `the enforcer: ${JSON.stringify(enforcer.said)}`,
    () => enforcer.said.some(({ event }) => event === "enforcer_started"),
  );
  return enforcer;
}

function given(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((one): one is [string, string] => one[1] !== undefined),
  );
}
