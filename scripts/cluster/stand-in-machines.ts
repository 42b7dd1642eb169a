import { setTimeout as pause } from "node:timers/promises";
import { type ApiObject, ApiRefusal, type ClusterApi } from "./cluster-api.ts";

/** A pod as far as it is looked at here. */
export type PodSeen = ApiObject & {
  readonly spec: { readonly nodeName?: string; readonly containers: readonly { name: string }[] };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message?: string;
    }[];
  };
};

const LOOK_EVERY_MS = 100;
const ROOM = { cpu: "16", memory: "64Gi", pods: "110" };

/**
 * Machines that there are not. In the place of their kubelets it says of each pod that was placed that it runs and is
 * ready, and lets go of each that is to end.
 */
export class StandInMachines implements AsyncDisposable {
  readonly names: readonly string[];
  readonly #api: ClusterApi;
  readonly #watchers = new Set<(pods: readonly PodSeen[]) => void>();
  #isOver = false;
  #working: Promise<void> = Promise.resolve();

  constructor(api: ClusterApi, names: readonly string[]) {
    this.#api = api;
    this.names = names;
  }

  async start(): Promise<void> {
    const conditions = [{ type: "Ready", status: "True", reason: "SaidToBe" }];
    for (const name of this.names) {
      const labels = { "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": name };
      const node = { apiVersion: "v1", kind: "Node", metadata: { name, labels } };
      await this.#api.apply(node);
      const status = { capacity: ROOM, allocatable: ROOM, conditions };
      await this.#api.merge(node, { status }, "status");
    }
    this.#working = this.#work();
  }

  /** Has `fn` see the pods before anything is done with them, each time. */
  async watching<T>(fn: (pods: readonly PodSeen[]) => void, during: () => Promise<T>): Promise<T> {
    this.#watchers.add(fn);
    try {
      return await during();
    } finally {
      this.#watchers.delete(fn);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#working;
  }

  async #work(): Promise<void> {
    while (!this.#isOver) {
      const pods = (await this.#api.list("v1", "Pod")) as readonly PodSeen[];
      const all = pods.map((pod) => ({ ...pod, apiVersion: "v1", kind: "Pod" }));
      for (const see of this.#watchers) see(all);
      for (const pod of all) await this.#tend(pod).catch(unlessGone);
      await pause(LOOK_EVERY_MS);
    }
  }

  async #tend(pod: PodSeen): Promise<void> {
    if (pod.spec.nodeName === undefined) return;
    if (pod.metadata.deletionTimestamp !== undefined) await this.#api.remove(pod, true);
    else if (!isReady(pod)) await this.#api.merge(pod, { status: running(pod) }, "status");
  }
}

export function isReady({ status }: PodSeen): boolean {
  return status?.conditions?.some((one) => one.type === "Ready" && one.status === "True") ?? false;
}

function running({ spec, status }: PodSeen): object {
  const types = ["Initialized", "ContainersReady", "Ready"];
  const others = status?.conditions?.filter(({ type }) => !types.includes(type)) ?? [];
  return {
    phase: "Running",
    // Since when is what `minReadySeconds` counts from.
    conditions: [
      ...others,
      ...types.map((type) => ({
        type,
        status: "True",
        lastTransitionTime: new Date().toISOString(),
      })),
    ],
    containerStatuses: spec.containers.map(({ name }) => ({
      ...{ name, image: "none", imageID: "none", restartCount: 0, ready: true, started: true },
      state: { running: {} },
    })),
  };
}

/** Between the look and the act a controller may have been quicker. */
function unlessGone(error: unknown): void {
  if (error instanceof ApiRefusal && [404, 409].includes(error.status)) return;
  throw error;
}
