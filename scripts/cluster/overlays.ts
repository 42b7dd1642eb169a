import { setTimeout as pause } from "node:timers/promises";
import { type ApiObject, ApiRefusal, type ClusterApi } from "./cluster-api.ts";

const SETTLE_MS = 90_000;
const WORKLOADS = ["DaemonSet", "StatefulSet", "Deployment"];
/** Kinds of others that the manifests use; what is in them is judged by the unit tests. */
const OTHERS = { ServiceMonitor: "servicemonitors", PrometheusRule: "prometheusrules" };
const VOLUMES = 8;

/** Has the API know the kinds of the Prometheus operator. */
export async function defineOthers(api: ClusterApi): Promise<void> {
  const [group, version] = ["monitoring.coreos.com", "v1"];
  for (const [kind, plural] of Object.entries(OTHERS)) {
    const schema = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
    const served = {
      name: version,
      served: true,
      storage: true,
      schema: { openAPIV3Schema: schema },
    };
    await api.apply({
      ...{ apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition" },
      metadata: { name: `${plural}.${group}` },
      spec: { group, scope: "Namespaced", names: { kind, plural }, versions: [served] },
    });
  }
  await settled("kinds of others", async () => {
    for (const kind of Object.keys(OTHERS)) await api.list(`${group}/${version}`, kind);
    return undefined;
  });
}

/**
 * Applies every object and waits until each workload has all its pods placed and ready.
 *
 * @throws Error What the API refuses, or what is still missing in the end.
 */
export async function applyAll(api: ClusterApi, objects: readonly ApiObject[]): Promise<void> {
  await makeVolumes(api);
  const isFirst = ({ kind }: ApiObject) => kind === "Namespace";
  const inOrder = [...objects.filter(isFirst), ...objects.filter((one) => !isFirst(one))];
  for (const object of inOrder)
    await api.apply(object).catch((error: unknown) => {
      throw new Error(`${object.kind} ${object.metadata.name}: ${error}`);
    });
  const workloads = objects.filter(({ kind }) => WORKLOADS.includes(kind));
  await settled("workloads", async () => {
    const lacking = await Promise.all(workloads.map((one) => lackOf(api, one)));
    const missing = lacking.filter((lack) => lack !== undefined);
    return missing.length === 0 ? undefined : `${missing.join("; ")}; ${await complaints(api)}`;
  });
}

/** Takes the overlay's namespaces and what stands outside of them away again. */
export async function removeAll(api: ClusterApi, objects: readonly ApiObject[]): Promise<void> {
  const outside = objects.filter(({ kind, metadata }) => {
    return kind === "Namespace" || metadata.namespace === undefined;
  });
  for (const object of outside) await api.remove(object);
  await settled("what was removed to be gone", async () => {
    for (const object of outside) if (await isThere(api, object)) return object.metadata.name;
    return undefined;
  });
  for (const volume of await api.list("v1", "PersistentVolume"))
    await api.remove({ ...volume, apiVersion: "v1", kind: "PersistentVolume" });
}

/** Waits for `look` to find nothing wrong. @throws Error With what was still wrong in the end. */
export async function settled(
  what: string,
  look: () => Promise<string | undefined>,
): Promise<void> {
  const endMs = performance.now() + SETTLE_MS;
  for (;;) {
    const wrong = await look().catch((error: unknown) => {
      if (error instanceof ApiRefusal) return error.message;
      throw error;
    });
    if (wrong === undefined) return;
    if (performance.now() > endMs) throw new Error(`${what}: ${wrong}`);
    await pause(200);
  }
}

type Status = Readonly<Record<string, number | undefined>>;

/** What a workload lacks, by its controller's own count. */
async function lackOf(api: ClusterApi, workload: ApiObject): Promise<string | undefined> {
  const { kind, metadata, spec, status } = await api.get(workload);
  const { observedGeneration, numberReady, readyReplicas, desiredNumberScheduled } =
    status as Status;
  const wanted = kind === "DaemonSet" ? desiredNumberScheduled : (spec as Status).replicas;
  const ready = (kind === "DaemonSet" ? numberReady : readyReplicas) ?? 0;
  const isSeen = observedGeneration === metadata.generation;
  if (isSeen && wanted !== undefined && wanted > 0 && ready === wanted) return undefined;
  return `${kind} ${metadata.name} has ${ready} of ${wanted}`;
}

/** Why pods were not made or not placed. */
async function complaints(api: ClusterApi): Promise<string> {
  const events = await api.list("v1", "Event");
  return [...new Set(events.filter(({ type }) => type === "Warning").map(({ message }) => message))]
    .slice(-5)
    .join("; ");
}

async function isThere(api: ClusterApi, object: ApiObject): Promise<boolean> {
  try {
    await api.get(object);
    return true;
  } catch (error) {
    if (error instanceof ApiRefusal && error.status === 404) return false;
    throw error;
  }
}

/** Enough for every claim of an overlay; nobody writes into them. */
async function makeVolumes(api: ClusterApi): Promise<void> {
  for (let i = 0; i < VOLUMES; i++)
    await api.apply({
      ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name: `volume-${i}` } },
      spec: {
        ...{ capacity: { storage: "1Ti" }, accessModes: ["ReadWriteOnce"] },
        hostPath: { path: `/none/${i}` },
      },
    });
}
