import { type ApiObject, ApiRefusal, type Caller, type ClusterApi } from "./cluster-api.ts";
import { settled } from "./overlays.ts";

// What the admission policy takes and refuses, said by the API itself: one pod that is as it should be, and others
// that differ from it in one thing each.

const NAMESPACE = "governed";
const IMAGE = `altrace@sha256:${"0".repeat(64)}`;

type Json = { [member: string]: unknown };
type Container = Json & { securityContext: Json & { capabilities?: Json } };
type Pod = {
  labels: Json;
  annotations: Json;
  spec: Json & { securityContext: Json; containers: [Container]; initContainers: Container[] };
};
type Case = { readonly name: string; readonly change: (pod: Pod) => void };

const first = ({ spec }: Pod): Container => spec.containers[0];
const rights = (pod: Pod): Container["securityContext"] => first(pod).securityContext;
const volume = (source: Json) => (pod: Pod) => {
  pod.spec.volumes = [{ name: "some", ...source }];
};
const sidecar =
  (change: Json, add = ["NET_ADMIN", "SETUID", "SETGID", "SETPCAP", "KILL"]) =>
  (pod: Pod) => {
    pod.spec.initContainers.push({
      ...{ name: "altrace-node", image: IMAGE, restartPolicy: "Always" },
      command: ["altrace-launcher", "--port", "14001", "--uid", "4737", "--gid", "4737", "--"],
      args: ["node", "cli/altrace.js", "node"],
      securityContext: {
        ...{ runAsUser: 0, runAsNonRoot: false, allowPrivilegeEscalation: false },
        capabilities: { drop: ["ALL"], add },
      },
      ...change,
    });
  };

const TAKEN: readonly Case[] = [
  { name: "as it should be", change: () => undefined },
  { name: "a folder of its own", change: volume({ emptyDir: {} }) },
  {
    name: "a volume of the cluster's",
    change: volume({ persistentVolumeClaim: { claimName: "x" } }),
  },
  {
    name: "low ports",
    change: (pod) => (rights(pod).capabilities = { drop: ["ALL"], add: ["NET_BIND_SERVICE"] }),
  },
  { name: "a GPU", change: (pod) => (first(pod).resources = { limits: { "nvidia.com/gpu": 1 } }) },
  { name: "the sidecar", change: sidecar({}) },
];

const REFUSED: readonly Case[] = [
  { name: "no team", change: (pod) => delete pod.labels["altrace.io/team"] },
  { name: "the machine's network", change: (pod) => (pod.spec.hostNetwork = true) },
  { name: "the machine's processes", change: (pod) => (pod.spec.hostPID = true) },
  { name: "the machine's IPC", change: (pod) => (pod.spec.hostIPC = true) },
  { name: "shared processes", change: (pod) => (pod.spec.shareProcessNamespace = true) },
  { name: "a folder of the machine", change: volume({ hostPath: { path: "/" } }) },
  { name: "NFS", change: volume({ nfs: { server: "192.0.2.1", path: "/" } }) },
  {
    name: "a port of the machine",
    change: (pod) => (first(pod).ports = [{ containerPort: 80, hostPort: 80 }]),
  },
  {
    name: "a second network",
    change: (pod) => (pod.annotations["k8s.v1.cni.cncf.io/networks"] = "x"),
  },
  { name: "RDMA", change: (pod) => (first(pod).resources = { limits: { "rdma/hca": 1 } }) },
  {
    name: "privileged",
    change: (pod) =>
      Object.assign(rights(pod), { privileged: true, allowPrivilegeEscalation: true }),
  },
  { name: "escalation left open", change: (pod) => delete rights(pod).allowPrivilegeEscalation },
  { name: "capabilities left open", change: (pod) => delete rights(pod).capabilities },
  {
    name: "raw sockets",
    change: (pod) => (rights(pod).capabilities = { drop: ["ALL"], add: ["NET_RAW"] }),
  },
  { name: "the proxy's user", change: (pod) => (rights(pod).runAsUser = 4737) },
  {
    name: "the proxy's user by the pod",
    change: (pod) => (pod.spec.securityContext.runAsUser = 4737),
  },
  { name: "a user left open", change: (pod) => delete pod.spec.securityContext.runAsNonRoot },
  { name: "root by the container", change: (pod) => (rights(pod).runAsNonRoot = false) },
  { name: "user 0", change: (pod) => (rights(pod).runAsUser = 0) },
  { name: "no seccomp profile", change: (pod) => delete pod.spec.securityContext.seccompProfile },
  {
    name: "an unconfined container",
    change: (pod) => (rights(pod).seccompProfile = { type: "Unconfined" }),
  },
  { name: "a sidecar of another registry", change: sidecar({ image: `evil.example/${IMAGE}` }) },
  { name: "a sidecar with other words", change: sidecar({ args: ["node", "-e", "0"] }) },
  {
    name: "a sidecar with a hook",
    change: sidecar({ lifecycle: { postStart: { exec: { command: ["x"] } } } }),
  },
  {
    name: "a sidecar with a probe",
    change: sidecar({ livenessProbe: { exec: { command: ["x"] } } }),
  },
  {
    name: "a sidecar's runtime changed",
    change: sidecar({ env: [{ name: "NODE_OPTIONS", value: "x" }] }),
  },
  { name: "a sidecar that may more", change: sidecar({}, ["SYS_ADMIN"]) },
];

/** @returns What is not as it should be. The policy must be in the cluster. */
export async function governedPods(api: ClusterApi): Promise<string | undefined> {
  const labels = { "altrace.io/governed": "true" };
  await api.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE, labels } });
  // The API learns of a policy a moment after it has taken it.
  const [host] = REFUSED;
  for (let i = 0; host && i < 100 && (await api.objection(podOf(host))) === undefined; i++)
    await new Promise((resolve) => setTimeout(resolve, 100));
  const wrong: string[] = [];
  for (const one of TAKEN) {
    const why = await api.objection(podOf(one));
    if (why !== undefined) wrong.push(`${one.name}: refused, ${why}`);
  }
  for (const one of REFUSED) {
    const why = await api.objection(podOf(one));
    if (!why?.includes("altrace-governed-pods")) wrong.push(`${one.name}: ${why ?? "taken"}`);
  }
  return wrong.length === 0 ? undefined : wrong.join("\n");
}

const ADDRESSES = { podIP: "10.77.0.11", podIPs: [{ ip: "10.77.0.11" }] };
const MOVED = { podIP: "10.77.0.12", podIPs: [{ ip: "10.77.0.12" }] };

const MULTUS = "v1.multus-cni.io/default-network";

/** What a cluster's own authorizer allows them, which this one does without. */
const KUBELETS = { name: "stand-in-kubelets" };
const RBAC = "rbac.authorization.k8s.io";
const KUBELETS_MAY: readonly ApiObject[] = [
  {
    ...{ apiVersion: `${RBAC}/v1`, kind: "ClusterRole", metadata: KUBELETS },
    rules: [{ apiGroups: [""], resources: ["pods/status"], verbs: ["patch"] }],
  },
  {
    ...{ apiVersion: `${RBAC}/v1`, kind: "ClusterRoleBinding", metadata: KUBELETS },
    roleRef: { apiGroup: RBAC, kind: "ClusterRole", name: KUBELETS.name },
    subjects: [{ apiGroup: RBAC, kind: "Group", name: "system:nodes" }],
  },
];

/**
 * Writes of a pod's status as its machine does, and as somebody else who may.
 *
 * @returns What is not as it should be. The policy must be in the cluster.
 */
export async function governedStatus(
  api: ClusterApi,
  machine: string,
): Promise<string | undefined> {
  const pod = podOf({ name: "", change: ({ spec }) => Object.assign(spec, { nodeName: machine }) });
  for (const one of KUBELETS_MAY) await api.apply(one);
  // A namespace's account is made a moment after it.
  await settled("a governed pod", async () => void (await api.apply(pod)));
  const kubelet = { user: `system:node:${machine}`, group: "system:nodes" };
  const objection = async (change: object, as?: Caller): Promise<string | undefined> => {
    try {
      await api.merge(pod, change, "status", as);
      return undefined;
    } catch (error) {
      if (error instanceof ApiRefusal) return error.message;
      throw error;
    }
  };
  const wrong: string[] = [];
  const expected = async (name: string, isTaken: boolean, change: object, as?: Caller) => {
    const why = await objection(change, as);
    const isSo = isTaken ? why === undefined : why?.includes("altrace-governed-pod-status");
    if (!isSo) wrong.push(`${name}: ${why ?? "taken"}`);
  };
  const labels = { "altrace.io/agent": "worker-2" };
  const networks = (name: string) => ({ metadata: { annotations: { [name]: "x" } } });
  const another = { user: "system:node:another", group: "system:nodes" };
  // What a role allows is allowed a moment later.
  await settled("its machine's word", () => objection({ status: ADDRESSES }, kubelet));
  await expected("a condition, by anybody", true, { status: { reason: "Some" } });
  await expected("other addresses, by anybody", false, { status: MOVED });
  await expected("no addresses, by anybody", false, { status: { podIP: null, podIPs: null } });
  await expected("another agent, by anybody", false, { metadata: { labels } });
  await expected("another agent, by its machine", false, { metadata: { labels } }, kubelet);
  await expected("a network, by anybody", false, networks("k8s.v1.cni.cncf.io/networks"));
  await expected("a network, by its machine", false, networks(MULTUS), kubelet);
  await expected("what it was given", true, networks("k8s.v1.cni.cncf.io/network-status"));
  await expected("other addresses, by another machine", false, { status: MOVED }, another);
  await expected("other addresses, by its machine", true, { status: MOVED }, kubelet);
  wrong.push(...(await wrongOfBinding(api)));
  for (const one of [pod, ...KUBELETS_MAY]) await api.remove(one, true);
  return wrong.length === 0 ? undefined : wrong.join("\n");
}

/** Puts the pod on a machine, with more than that. */
async function wrongOfBinding(api: ClusterApi): Promise<string[]> {
  const refusal = async (more: object): Promise<string> => {
    const body = {
      ...{ apiVersion: "v1", kind: "Binding", metadata: { name: "one", ...more } },
      target: { apiVersion: "v1", kind: "Node", name: "any" },
    };
    try {
      const path = `/api/v1/namespaces/${NAMESPACE}/pods/one/binding`;
      await api.call(path, { method: "POST", body, query: { dryRun: "All" } });
      return "";
    } catch (error) {
      if (error instanceof ApiRefusal) return error.message;
      throw error;
    }
  };
  const isRefused = async (more: object) =>
    (await refusal(more)).includes("altrace-governed-pod-binding");
  const wrong: string[] = [];
  // It has a machine already, which is another reason.
  if (await isRefused({ labels: { some: "x" } })) wrong.push("a binding: refused");
  if (!(await isRefused({ labels: { "altrace.io/agent": "worker-2" } })))
    wrong.push("a binding to another agent: taken");
  for (const name of ["k8s.v1.cni.cncf.io/networks", MULTUS])
    if (!(await isRefused({ annotations: { [name]: "x" } })))
      wrong.push(`a binding with ${name}: taken`);
  return wrong;
}

function podOf({ change }: Case): ApiObject {
  const pod: Pod = {
    labels: { "altrace.io/team": "research", "altrace.io/agent": "worker-1" },
    annotations: {},
    spec: {
      securityContext: {
        ...{ runAsNonRoot: true, runAsUser: 1000 },
        seccompProfile: { type: "RuntimeDefault" },
      },
      containers: [
        {
          ...{ name: "agent", image: "some" },
          securityContext: {
            allowPrivilegeEscalation: false,
            capabilities: { drop: ["ALL"] },
          },
        },
      ],
      initContainers: [],
    },
  };
  change(pod);
  const { labels, annotations, spec } = pod;
  const metadata = { name: "one", namespace: NAMESPACE, labels, annotations };
  return { apiVersion: "v1", kind: "Pod", metadata, spec } as unknown as ApiObject;
}
