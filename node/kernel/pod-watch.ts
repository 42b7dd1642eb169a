import type { Cancel, Clock } from "../../ports/clock.ts";
import { errorMessage } from "../../ports/error-message.ts";
import type { Pod, PodSource } from "./pod.ts";
import { readPod, type ShownPod } from "./pod-list.ts";

// Follows the pods of one machine through the cluster's API, as its protocol has it: a list, then a
// watch from that list's version on.
//
// W1. The pods that are told are always a whole list, never half of one.
// W2. A watch that ends is taken up where it ended; bookmarks keep that place young.
// W3. When the API has forgotten that place (410), everything is listed anew.
// W4. While the API cannot be reached the last list stands, and it is said for how long.

const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 10_000;
/** A watch is ended by the API after some minutes; one that is silent for longer is dead. */
const WATCH_SECONDS = 290;
/** Not a fault yet: a watch that is being taken up again. */
const STALE_AFTER_MS = 15_000;

/** One line of a watch. */
export type WatchEvent = {
  readonly type?: string;
  readonly object?: ShownPod & { readonly code?: number };
};

/** The cluster's API, reading only. */
export type ClusterApi = {
  /** @throws An error whose message says what came instead of the list. */
  list(path: string): Promise<{
    readonly metadata?: { readonly resourceVersion?: string };
    readonly items?: readonly ShownPod[];
  }>;
  /** Resolves when the watch has ended in good order. @throws ClusterFault with the status. */
  watch(path: string, on: WatchHandlers, signal: AbortSignal): Promise<void>;
};

export type WatchHandlers = {
  /** The API has taken the watch up: it tells all that has happened since the version that was named. */
  readonly begun: () => void;
  readonly event: (event: WatchEvent) => void;
};

/** The API refused, or could not be reached. */
export class ClusterFault extends Error {
  override readonly name = "ClusterFault";
  /** HTTP's; undefined when there was no answer. */
  readonly status: number | undefined;

  constructor(message: string, status?: number) {
    super(message);
    this.status = status;
  }
}

export type PodWatchDeps = {
  readonly api: ClusterApi;
  readonly clock: Clock;
  /** The machine's name in the cluster. */
  readonly node: string;
  readonly exemptNamespaces: readonly string[];
  readonly onFault: (what: string) => void;
};

export class PodWatch implements PodSource {
  readonly #deps: PodWatchDeps;
  readonly #pods = new Map<string, Pod>();
  readonly #ending = new AbortController();
  #onPods: (pods: readonly Pod[]) => void = () => undefined;
  #version: string | undefined;
  #retryMs = RETRY_FIRST_MS;
  #cancelRetry: Cancel | undefined;
  /** Since when the list may be out of date; undefined while a watch stands. Monotonic ns. */
  #staleSinceNs: bigint | undefined;

  constructor(deps: PodWatchDeps) {
    this.#deps = deps;
  }

  start(onPods: (pods: readonly Pod[]) => void): void {
    this.#onPods = onPods;
    this.#staleSinceNs = this.#deps.clock.monoNs();
    void this.#round();
  }

  stop(): void {
    this.#ending.abort();
    this.#cancelRetry?.();
  }

  staleBecause(): string | undefined {
    if (this.#staleSinceNs === undefined) return undefined;
    const ms = Number((this.#deps.clock.monoNs() - this.#staleSinceNs) / 1_000_000n);
    return ms > STALE_AFTER_MS ? `the cluster's API is silent for ${ms} ms` : undefined;
  }

  /** One list where one is needed, and one watch to its end. */
  async #round(): Promise<void> {
    try {
      if (this.#version === undefined) await this.#list();
      await this.#watch();
      this.#again(RETRY_FIRST_MS);
    } catch (error) {
      if (this.#ending.signal.aborted) return;
      this.#staleSinceNs ??= this.#deps.clock.monoNs();
      if (error instanceof ClusterFault && error.status === 410) this.#version = undefined;
      else this.#deps.onFault(errorMessage(error));
      this.#again(this.#retryMs);
      this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
    }
  }

  async #list(): Promise<void> {
    const { api, node, exemptNamespaces } = this.#deps;
    const { metadata, items } = await api.list(`/api/v1/pods?${selector(node)}`);
    if (metadata?.resourceVersion === undefined || items === undefined)
      throw new ClusterFault("the list of pods has no version");
    this.#pods.clear();
    for (const item of items) this.#put(item, exemptNamespaces);
    this.#version = metadata.resourceVersion;
    this.#tell();
  }

  async #watch(): Promise<void> {
    const { api, node } = this.#deps;
    const from = `resourceVersion=${encodeURIComponent(this.#version as string)}`;
    const how = `watch=true&allowWatchBookmarks=true&timeoutSeconds=${WATCH_SECONDS}`;
    const on: WatchHandlers = {
      // Not before: each attempt that fails would begin the time anew in which nothing is heard.
      begun: () => {
        this.#staleSinceNs = undefined;
      },
      event: (event) => this.#take(event),
    };
    await api.watch(`/api/v1/pods?${selector(node)}&${how}&${from}`, on, this.#ending.signal);
  }

  #take({ type, object }: WatchEvent): void {
    // Told within a watch that has begun well, in the place of a status.
    if (type === "ERROR") throw new ClusterFault("the watch was ended", object?.code ?? 500);
    const version = object?.metadata?.resourceVersion;
    if (object === undefined || version === undefined)
      throw new ClusterFault("a line of the watch has no version");
    this.#version = version;
    this.#retryMs = RETRY_FIRST_MS;
    if (type === "BOOKMARK") return;
    const uid = object.metadata?.uid ?? "";
    if (type === "DELETED") this.#pods.delete(uid);
    else this.#put(object, this.#deps.exemptNamespaces);
    this.#tell();
  }

  #put(shown: ShownPod, exemptNamespaces: readonly string[]): void {
    const pod = readPod(shown, exemptNamespaces);
    // One that has ended has no network any more, though the API shows it still.
    if (pod) this.#pods.set(pod.uid, pod);
    else this.#pods.delete(shown.metadata?.uid ?? "");
  }

  #tell(): void {
    this.#onPods([...this.#pods.values()]);
  }

  #again(delayMs: number): void {
    if (this.#ending.signal.aborted) return;
    this.#cancelRetry = this.#deps.clock.after(delayMs, () => void this.#round());
  }
}

function selector(node: string): string {
  return `fieldSelector=${encodeURIComponent(`spec.nodeName=${node}`)}`;
}
