import { chmodSync, chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KERNEL_PACKAGES } from "../../test/setup/kernel-programs.ts";
import { gateFiles, startEnforcer, writePodList } from "../../test/support/kernel-enforcer.ts";
import {
  KernelLab,
  LAB,
  LAUNCHER_CAPABILITIES,
  type Said,
  type Speaker,
} from "../../test/support/kernel-lab.ts";
import { NODE } from "../../test/support/run-altrace.ts";
import { waitUntil } from "../../test/support/wait-until.ts";
import { benchPolicy } from "../fixtures/policy.ts";
import type { BenchResult, Budget } from "./bench.ts";
import { NEIGHBOUR, TARGET } from "./mesh-under-test.ts";
import { Operator } from "./operator.ts";
import { type ProbeLog, readProbeLog } from "./probe-log.ts";
import { OF_SOURCES, type Ready } from "./start-altrace.ts";

export const PROVIDER = "api.openai.com";
/** Where tunnels may go. */
export const SITE = "files.example.com";
const SITE_AT = "10.9.0.3";
export const PROXY_UID = 4737;
const CLI = "cli/altrace.js";
/** Longer than the probes keep what they have seen to themselves. */
const PROBE_SETTLE_MS = 400;
const CWD = join(import.meta.dirname, "..", "..");

/** One governed machine with two pods, all of it real: rules, enforcer, launcher, node. */
export type KernelMachine = Disposable & {
  readonly lab: KernelLab;
  readonly enforcer: Speaker;
  readonly operator: Operator;
  readonly ready: Ready;
  /** The node's own process. */
  readonly pid: number;
  readonly caFile: string;
  /** What the node's probes saw. */
  probed(): Promise<ProbeLog>;
};

/**
 * Starts it. `TARGET` lives in pod `a1`, `NEIGHBOUR` in `a2`.
 *
 * @param of Whether probes look into the node's threads, which costs something.
 */
export async function startKernelMachine(of: {
  readonly isProbed: boolean;
}): Promise<KernelMachine> {
  using stack = new DisposableStack();
  const lab = stack.use(new KernelLab());
  const { certificate, enforcer } = await startAround(lab);
  const probes = ownedFolder(lab, "probes");
  const home = ownedFolder(lab, "home");
  const run = of.isProbed ? probed(lab, probes) : { script: CLI };
  const args = ["up", "--json", "--home", home, "--policy", policyFile(lab)];
  const node = launchNode(lab, { certificate, args, ...run });
  const ready = (await wordOf(node, (one) => one.ready === true)) as unknown as Ready;
  const operator = stack.use(new Operator(ready));
  const [pid] = lab.running("node", { uid: PROXY_UID, word: run.script });
  if (pid === undefined) throw new Error("the node is not there");
  const owned = stack.move();
  return {
    ...{ lab, enforcer, operator, ready, pid },
    caFile: join(ready.home, "inspection-root.pem"),
    probed: async () => {
      await new Promise((resolve) => setTimeout(resolve, PROBE_SETTLE_MS));
      return readProbeLog(probes);
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function probed(lab: KernelLab, folder: string): Required<Pick<NodeLaunch, "script" | "env">> {
  const { script, env } = OF_SOURCES;
  const preload = `--import ${join(lab.folder, "repository", "bench/harness/probe.ts")}`;
  return { script, env: { ...env, NODE_OPTIONS: preload, BENCH_PROBE_DIR: folder } };
}

/** Whoever is there beside the node: the outside with what it shows to be trusted, the pods, the enforcer. */
export async function startAround(
  lab: KernelLab,
): Promise<{ readonly certificate: string; readonly enforcer: Speaker }> {
  lab.run("inet", `ip addr add ${SITE_AT}/32 dev eth0`);
  const far = lab.speak("inet", [
    ...[NODE, join(CWD, "bench/fixtures/far-machine.ts"), PROVIDER, LAB.inet4, SITE_AT],
  ]);
  const pods = [
    { name: "one", agent: TARGET, addresses: LAB.a1 },
    { name: "two", agent: NEIGHBOUR, addresses: LAB.a2 },
  ];
  writePodList(lab, pods);
  const [{ certificate }, enforcer] = await Promise.all([
    wordOf(far, ({ ready }) => ready === true),
    startEnforcer(lab),
  ]);
  return { certificate: String(certificate), enforcer };
}

/** What a bench of the kernel's part says where it cannot be tried. */
export function kernelSkipped(budget: Budget, why: string): BenchResult {
  const skipped = new Map(Object.keys(budget).map((name) => [name, why]));
  const notes = [`It takes root, Linux and ${KERNEL_PACKAGES.join(", ")}.`];
  return { load: "none", figures: [], skipped, notes };
}

/** The next such word, of all that was said. */
export async function wordOf(by: Speaker, is: (one: Said) => boolean): Promise<Said> {
  return waitUntil(
    () => `a word of ${JSON.stringify(by.said.slice(-5))}`,
    () => {
      if (by.child.exitCode !== null) throw new Error(`it ended: ${JSON.stringify(by.said)}`);
      return by.said.find(is);
    },
  );
}

type NodeLaunch = {
  readonly certificate: string;
  readonly args: readonly string[];
  readonly flags?: readonly string[];
  readonly script?: string;
  readonly env?: Readonly<Record<string, string>>;
};

/** As a machine of the manifests runs it. */
export function launchNode(lab: KernelLab, of: NodeLaunch): Speaker {
  const hosts = `127.0.0.1 localhost\n${LAB.inet4} ${PROVIDER}\n${SITE_AT} ${SITE}\n`;
  const { socket, pods } = gateFiles(lab);
  const ids = ["--uid", `${PROXY_UID}`, "--gid", `${PROXY_UID}`];
  return lab.launch("node", {
    flags: ["--port", "14001", ...ids, ...(of.flags ?? [])],
    capabilities: LAUNCHER_CAPABILITIES,
    script: of.script ?? CLI,
    args: of.args,
    files: { "/etc/hosts": readableFile(lab, "hosts", hosts) },
    env: {
      OPENAI_API_KEY: "sk-of-the-bench",
      NODE_EXTRA_CA_CERTS: readableFile(lab, "far.pem", of.certificate),
      ALTRACE_PODS_FILE: pods,
      ALTRACE_GATE_SOCKET: socket,
      ALTRACE_DNS_HOSTS: "0.0.0.0,::",
      ALTRACE_TUNNEL_RANGES: "10.9.0.0/24",
      ...of.env,
    },
  });
}

/** The policy of a machine's mesh. */
export function policyFile(lab: KernelLab): string {
  const policy = benchPolicy({ upstream: `https://${PROVIDER}`, crowd: 0, tunnelsTo: SITE });
  return readableFile(lab, "policy.yaml", policy);
}

/** One that the node's user may read. */
export function readableFile(lab: KernelLab, name: string, text: string): string {
  const path = join(lab.folder, name);
  writeFileSync(path, text);
  chmodSync(path, 0o644);
  return path;
}

/** One that is the node's user's. */
export function ownedFolder(lab: KernelLab, name: string): string {
  const path = join(lab.folder, name);
  mkdirSync(path, { mode: 0o700 });
  chownSync(path, PROXY_UID, PROXY_UID);
  return path;
}
