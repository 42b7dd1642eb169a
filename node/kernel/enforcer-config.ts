import { dirname, join } from "node:path";
import { type LogLevel, SERVER_SETTINGS } from "../../adapters/server-settings.ts";
import { integer, path, readSettings, type SettingTable, text } from "../../adapters/settings.ts";

const NAME_LIST = /^[A-Za-z0-9][A-Za-z0-9_.*-]*(,[A-Za-z0-9][A-Za-z0-9_.*-]*)*$/;
const program = text(/^[A-Za-z0-9_./-]{1,512}$/, "a program's name or path");

/** Every setting of the enforcer, the privileged process beside a node: name, default, bounds. */
export const ENFORCER_SETTINGS = {
  gateSocket: {
    env: "ALTRACE_GATE_SOCKET",
    byDefault: "/run/altrace/gate.sock",
    read: path,
    help: "unix socket on which the node tells of kills",
  },
  gateGid: {
    env: "ALTRACE_GATE_GID",
    byDefault: "4737",
    read: integer({ min: 0, max: 2_147_483_646 }),
    help: "group that may open the gate's socket: the node's",
  },
  gateHelper: {
    env: "ALTRACE_GATE_HELPER",
    byDefault: "altrace-gate",
    read: program,
    help: "program that closes the gate within a turn of the node's; kills take longer without it",
  },
  stateDir: {
    env: "ALTRACE_ENFORCER_STATE",
    byDefault: "/var/lib/altrace-enforcer",
    read: path,
    help: "folder in which the killed scopes are kept for the next start",
  },
  infraLinks: {
    env: "ALTRACE_INFRA_LINKS",
    byDefault: undefined,
    read: text(NAME_LIST, "names of interfaces with commas between, `*` at the end for any rest"),
    help: "interfaces that lead elsewhere than to pods, such as eth0,vxlan.*; all others are captured",
  },
  podsFile: {
    env: "ALTRACE_PODS_FILE",
    byDefault: undefined,
    read: path,
    help: "JSON file that lists the pods, on machines without Kubernetes",
  },
  kubernetesUrl: {
    env: "ALTRACE_KUBERNETES_URL",
    byDefault: undefined,
    read: text(/^https?:\/\/[^\s/]+$/, "https://host:port"),
    help: "the cluster's API; without it, the one that the cluster names to its pods",
  },
  kubernetesNode: {
    env: "ALTRACE_KUBERNETES_NODE",
    byDefault: undefined,
    read: text(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, "a node's name"),
    help: "this machine's name in the cluster; pods of other machines are not watched",
  },
  serviceAccountDir: {
    env: "ALTRACE_SERVICE_ACCOUNT",
    byDefault: "/var/run/secrets/kubernetes.io/serviceaccount",
    read: path,
    help: "folder with the token and ca.crt for the cluster's API",
  },
  exemptNamespaces: {
    env: "ALTRACE_EXEMPT_NAMESPACES",
    byDefault: "kube-system",
    read: text(NAME_LIST, "names with commas between"),
    help: "namespaces whose pods are not governed: the cluster's own",
  },
  cniResults: {
    env: "ALTRACE_CNI_RESULTS",
    byDefault: "/var/lib/cni/results",
    read: path,
    help: "folder of the network plugin's notes, which say who is plugged where into a bridge",
  },
  ebpfObject: {
    env: "ALTRACE_EBPF_OBJECT",
    byDefault: undefined,
    read: path,
    help: "compiled agent.bpf.o of deploy/ebpf-notes, attached to governed pods; absent: none",
  },
  ebpfPins: {
    env: "ALTRACE_EBPF_PINS",
    byDefault: "/sys/fs/bpf/altrace",
    read: path,
    help: "folder of the BPF file system in which programs and maps are kept; emptied at start",
  },
  cgroupRoot: {
    env: "ALTRACE_CGROUP_ROOT",
    byDefault: "/sys/fs/cgroup",
    read: path,
    help: "root of control groups of version 2, where pods' own groups are looked for",
  },
  checkMs: {
    env: "ALTRACE_RULE_CHECK_MS",
    byDefault: "2000",
    read: integer({ min: 100, max: 60_000 }),
    help: "time between two looks at whether the rules still stand, ms; a change is seen at once",
  },
  canaryPort: {
    env: "ALTRACE_CANARY_PORT",
    byDefault: "14055",
    read: integer({ min: 1024, max: 65_535 }),
    help: "port of the canary in its pod, and of what must not be reached from there on this machine",
  },
  canaryPackets: {
    env: "ALTRACE_CANARY_PACKETS",
    byDefault: "altrace-canary",
    read: program,
    help: "the canary's program for packets that no ordinary socket writes; it takes CAP_NET_RAW",
  },
  canaryMs: {
    env: "ALTRACE_CANARY_MS",
    byDefault: "10000",
    read: integer({ min: 500, max: 600_000 }),
    help: "time between two rounds of the canary, ms",
  },
  ...SERVER_SETTINGS,
  metricsPort: {
    env: "ALTRACE_ENFORCER_METRICS_PORT",
    byDefault: "4094",
    read: integer({ min: 0, max: 65_535 }),
    help: "port of the enforcer's /metrics, /healthz, /readyz; 0 for any",
  },
  netlinkFds: {
    env: "ALTRACE_NETLINK_FDS",
    byDefault: undefined,
    read: text(/^\d{1,4},\d{1,4}$/, "two numbers of open files, as the launcher gives them"),
    help: "netlink sockets that the launcher has opened: netfilter, sock_diag",
  },
} as const satisfies SettingTable;

/** The enforcer's settings, checked and frozen. Times in ms. */
export type EnforcerConfig = {
  readonly gateSocket: string;
  readonly gateGid: number;
  readonly gateHelper: string;
  readonly stateDir: string;
  readonly infraLinks: readonly string[];
  readonly podsFile: string | undefined;
  readonly kubernetesUrl: string | undefined;
  readonly kubernetesNode: string | undefined;
  readonly serviceAccountDir: string;
  readonly exemptNamespaces: readonly string[];
  readonly cniResults: string;
  readonly ebpfObject: string | undefined;
  readonly ebpfPins: string;
  readonly cgroupRoot: string;
  readonly checkMs: number;
  readonly canaryPort: number;
  readonly canaryPackets: string;
  readonly canaryMs: number;
  readonly metricsHost: string;
  readonly metricsPort: number;
  /** Absent where the process was not started by the launcher. */
  readonly netlinkFds: readonly [number, number] | undefined;
  readonly logLevel: LogLevel;
};

/** Settings to EnforcerConfig; all errors at once. */
export function readEnforcerConfig(
  env: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, string | undefined>>,
): { readonly config: EnforcerConfig } | { readonly errors: readonly string[] } {
  const read = readSettings(ENFORCER_SETTINGS, env, flags);
  if ("errors" in read) return read;
  const { values } = read;
  const errors: string[] = [];
  if (values.infraLinks === undefined)
    errors.push("ALTRACE_INFRA_LINKS: needed; what it does not name is taken for a pod's");
  const hasCluster =
    values.kubernetesUrl !== undefined || env.KUBERNETES_SERVICE_HOST !== undefined;
  if (values.podsFile === undefined && !hasCluster)
    errors.push("ALTRACE_PODS_FILE: needed where there is no cluster that names the pods");
  if (values.podsFile === undefined && hasCluster && values.kubernetesNode === undefined)
    errors.push("ALTRACE_KUBERNETES_NODE: needed to know which pods are on this machine");
  // Written there for the node; the list that it is made from must be another.
  if (values.podsFile === join(dirname(values.gateSocket ?? ""), "pods.json"))
    errors.push("ALTRACE_PODS_FILE: beside the gate's socket, where the enforcer writes its own");
  if (errors.length > 0) return { errors };
  const list = (words: string | undefined) => (words ?? "").split(",").filter(Boolean);
  const config = {
    ...values,
    infraLinks: list(values.infraLinks),
    exemptNamespaces: list(values.exemptNamespaces),
    podsFile: values.podsFile,
    ebpfObject: values.ebpfObject,
    kubernetesUrl: values.kubernetesUrl ?? clusterUrl(env),
    kubernetesNode: values.kubernetesNode,
    netlinkFds: values.netlinkFds?.split(",").map(Number) as [number, number] | undefined,
  } as EnforcerConfig;
  return { config: Object.freeze(config) };
}

/** What a cluster tells every pod of itself. */
function clusterUrl(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = env;
  if (host === undefined) return undefined;
  return `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
