import type { ApiObject, ClusterApi } from "./cluster-api.ts";
import { settled } from "./overlays.ts";
import { isReady, type PodSeen, type StandInMachines } from "./stand-in-machines.ts";

type Counts = { leastReady: number; most: number };
type DaemonSet = ApiObject & {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: { readonly metadata: object; readonly spec: { containers: object[] } };
  };
};

/**
 * Replaces a daemonset's pods and counts them on each machine meanwhile: the new one must be there before the old
 * one ends, and no machine without one that is ready.
 *
 * @returns What was otherwise.
 */
export async function rollsOver(
  api: ClusterApi,
  machines: StandInMachines,
  daemonSet: ApiObject,
): Promise<string | undefined> {
  const counts = new Map(machines.names.map((name) => [name, { leastReady: 9, most: 0 }]));
  await machines.watching(
    (pods) => count(podsOf(pods, daemonSet as DaemonSet), counts),
    async () => {
      await begin(api, daemonSet);
      await settled("the new pods", async () => lackOfNew(await api.get(daemonSet)));
    },
  );
  const wrong = [...counts].filter(([, { leastReady, most }]) => leastReady < 1 || most !== 2);
  return wrong.length === 0 ? undefined : `pods on a machine: ${JSON.stringify(wrong)}`;
}

/**
 * Tries the same with a daemonset that declares a port of the machine in its container, which must not work: a look
 * that finds nothing wrong there sees nothing.
 *
 * @returns What was otherwise.
 */
export async function portsStandInTheWay(
  api: ClusterApi,
  machines: StandInMachines,
  daemonSet: ApiObject,
): Promise<string | undefined> {
  const twin = declaringPorts(daemonSet as DaemonSet);
  await api.apply(twin);
  await settled("pods with ports", async () => lackOfNew(await api.get(twin)));
  let found: string | undefined;
  await machines.watching(
    (pods) => {
      const messages = podsOf(pods, twin).flatMap(({ status }) => status?.conditions ?? []);
      found ??= messages.find(({ message }) => message?.includes("free ports"))?.message;
    },
    async () => {
      await begin(api, twin);
      await settled("a pod that finds no place", async () => (found ? undefined : "none yet"));
    },
  );
  await api.remove(twin);
  return found === undefined ? "a second pod was placed beside one with the same port" : undefined;
}

/**
 * Changes all coordinators at once, as an overlay with a new image does: one at a time may be away, the first of them not before
 * it is ended by hand.
 *
 * @returns What was otherwise.
 */
export async function coordinatorsStay(
  api: ClusterApi,
  machines: StandInMachines,
  sets: readonly ApiObject[],
): Promise<string | undefined> {
  const all = sets as readonly DaemonSet[];
  const [first, further] = all as [DaemonSet, DaemonSet];
  const ready = { least: 9 };
  await machines.watching(
    (pods) => {
      const there = new Set(all.flatMap((set) => podsOf(pods, set)).filter(isReady));
      const staying = [...there].filter(({ metadata }) => !metadata.deletionTimestamp);
      ready.least = Math.min(ready.least, staying.length);
    },
    async () => {
      for (const set of all) await begin(api, set);
      await settled("the further ones", async () => lackOfUpdated(await api.get(further)));
      const pod = { name: `${first.metadata.name}-0`, namespace: first.metadata.namespace ?? "" };
      await api.remove({ apiVersion: "v1", kind: "Pod", metadata: pod });
      await settled("the first one", async () => lackOfUpdated(await api.get(first)));
    },
  );
  return ready.least === 2 ? undefined : `${ready.least} of 3 were ready meanwhile`;
}

/** What a StatefulSet lacks until it is all new. It is asked for as many as it is to have: one that is just gone is no longer counted. */
export function lackOfUpdated({ metadata, spec, status }: ApiObject): string | undefined {
  const { replicas } = spec as { readonly replicas: number };
  const { observedGeneration, updatedReplicas, availableReplicas } = status as Readonly<
    Record<string, number | undefined>
  >;
  const isSeen = observedGeneration === metadata.generation;
  const isDone = updatedReplicas === replicas && availableReplicas === replicas;
  return isSeen && isDone ? undefined : JSON.stringify(status);
}

async function begin(api: ClusterApi, { apiVersion, kind, metadata }: ApiObject): Promise<void> {
  const annotations = { "altrace.io/replaced": new Date().toISOString() };
  const change = { spec: { template: { metadata: { annotations } } } };
  await api.merge({ apiVersion, kind, metadata }, change);
}

function lackOfNew({ metadata, status }: ApiObject): string | undefined {
  const { observedGeneration, desiredNumberScheduled, updatedNumberScheduled, ...rest } =
    status as Readonly<Record<string, number | undefined>>;
  const isSeen = observedGeneration === metadata.generation && (desiredNumberScheduled ?? 0) > 0;
  const isDone = isSeen && updatedNumberScheduled === desiredNumberScheduled;
  const { numberAvailable, currentNumberScheduled } = rest;
  if (
    isDone &&
    [numberAvailable, currentNumberScheduled].every((n) => n === desiredNumberScheduled)
  )
    return undefined;
  return JSON.stringify(status);
}

function count(pods: readonly PodSeen[], counts: ReadonlyMap<string, Counts>): void {
  for (const [name, of] of counts) {
    const here = pods.filter(({ spec }) => spec.nodeName === name);
    const staying = here.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    of.leastReady = Math.min(of.leastReady, staying.filter(isReady).length);
    of.most = Math.max(of.most, here.length);
  }
}

function podsOf(pods: readonly PodSeen[], { metadata, spec }: DaemonSet): readonly PodSeen[] {
  const wanted = Object.entries(spec.selector.matchLabels);
  return pods.filter(
    (pod) =>
      pod.metadata.namespace === metadata.namespace &&
      wanted.every(([name, value]) => pod.metadata.labels?.[name] === value),
  );
}

function declaringPorts(of: DaemonSet): DaemonSet {
  const labels = { "app.kubernetes.io/name": "declares-ports" };
  const [one, ...others] = of.spec.template.spec.containers;
  const containers = [{ ...one, ports: [{ containerPort: 14_099 }] }, ...others];
  const template = { metadata: { labels }, spec: { ...of.spec.template.spec, containers } };
  return {
    ...{ apiVersion: of.apiVersion, kind: of.kind },
    metadata: { name: "declares-ports", namespace: of.metadata.namespace ?? "" },
    spec: { ...of.spec, selector: { matchLabels: labels }, template },
  };
}
