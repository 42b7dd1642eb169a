import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clusterApi } from "../../adapters/cluster-api.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import type { Pod } from "../../node/kernel/pod.ts";
import { ClusterFault, PodWatch } from "../../node/kernel/pod-watch.ts";
import type { ApiObject, ClusterApi } from "./cluster-api.ts";
import { settled } from "./overlays.ts";

// The enforcer's own watch, under the account that the manifests give it, over the API itself.

const NAMESPACE = "watched";
const ACCOUNT = "/api/v1/namespaces/altrace-system/serviceaccounts/altrace-enforcer/token";
const LABELS = { "altrace.io/team": "research", "altrace.io/agent": "worker-1" };
const ADDRESSES = ["10.77.0.11", "fd77::11"];
/** What its role must not let it do. */
const FOREIGN = [
  "/api/v1/secrets",
  "/api/v1/nodes",
  "/api/v1/namespaces/altrace-system/configmaps",
];

type Cluster = { readonly api: ClusterApi; readonly origin: string; readonly ca: string };
type Machines = readonly [own: string, other: string, ...others: string[]];

/** Follows one machine's pods while they come and go. @throws Error What was otherwise than it should be. */
export async function watchesPods(cluster: Cluster, machines: Machines): Promise<void> {
  const { api, origin, ca } = cluster;
  const folder = mkdtempSync(join(tmpdir(), "alt-account-"));
  writeFileSync(join(folder, "token"), await tokenOf(api), { mode: 0o600 });
  writeFileSync(join(folder, "ca.crt"), ca);
  const faults: string[] = [];
  let seen: readonly Pod[] = [];
  const refusal = (message: string, status?: number) => new ClusterFault(message, status);
  const asEnforcer = clusterApi(origin, folder, refusal);
  const watch = new PodWatch({
    api: asEnforcer,
    clock: systemClock,
    node: machines[0],
    exemptNamespaces: ["altrace-system"],
    onFault: (what) => void faults.push(what),
  });
  const pods = [podOn(machines[0], "own", LABELS), podOn(machines[1], "other", LABELS)] as const;
  const named = () => seen.filter(({ namespace }) => namespace === NAMESPACE);
  const shows = (what: string, wanted: readonly string[]) =>
    settled(what, async () => {
      const words = named().map(({ name, agent, addresses }) =>
        [name, agent && `${agent.team}/${agent.agent}`, ...addresses].join(" "),
      );
      const isSo = JSON.stringify(words) === JSON.stringify(wanted);
      return isSo ? undefined : `it sees ${JSON.stringify(words)}; ${faults.slice(-2).join("; ")}`;
    });
  try {
    watch.start((all) => {
      seen = all;
    });
    await api.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } });
    // A namespace's account is made a moment after it.
    for (const pod of pods)
      await settled(pod.metadata.name, async () => void (await api.apply(pod)));
    for (const pod of pods) await api.merge(pod, { status: statusOf(ADDRESSES) }, "status");
    await shows("its own pod, and that of no other machine", [
      `own research/worker-1 ${ADDRESSES.join(" ")}`,
    ]);
    await api.merge(pods[0], { metadata: { labels: { "altrace.io/agent": null } } });
    await shows("a pod that is nobody's any more", [`own  ${ADDRESSES.join(" ")}`]);
    await api.remove(pods[0], true);
    await shows("its pod's end", []);
    for (const path of FOREIGN) await mustRefuse(() => asEnforcer.list(path), path);
  } finally {
    watch.stop();
    rmSync(folder, { recursive: true, force: true });
    await api.remove({ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } });
  }
}

async function tokenOf(api: ClusterApi): Promise<string> {
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
  const made = await api.call<{ status: { token: string } }>(ACCOUNT, { method: "POST", body });
  return made.status.token;
}

function podOn(nodeName: string, name: string, labels: Readonly<Record<string, string>>) {
  const spec = { nodeName, containers: [{ name: "agent", image: "none" }] };
  const metadata = { name, namespace: NAMESPACE, labels };
  return { apiVersion: "v1", kind: "Pod", metadata, spec } satisfies ApiObject;
}

function statusOf(addresses: readonly string[]) {
  return { podIP: addresses[0], podIPs: addresses.map((ip) => ({ ip })) };
}

async function mustRefuse(ask: () => Promise<object>, path: string): Promise<void> {
  const status = await ask().then(
    () => 200,
    (error: unknown) => (error instanceof ClusterFault ? error.status : undefined),
  );
  if (status !== 403) throw new Error(`${path} is answered with ${status}`);
}
