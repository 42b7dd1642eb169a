import type { AgentId } from "../../proto/ids.ts";

/** One pod of this machine, or what stands for one where there is no Kubernetes. */
export type Pod = {
  /** Unique on this machine for as long as the pod lives. */
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Who it is, by its labels; undefined: nobody has registered it, and it is denied everything. */
  readonly agent: AgentId | undefined;
  readonly addresses: readonly string[];
  /** Not governed at all: part of the cluster itself. */
  readonly exempt: boolean;
  /** Tries to get out, and is meant to fail. */
  readonly canary: boolean;
  /** Stands for an address that several pods have; see `settleAddresses`. */
  readonly isContested?: boolean;
  /** Where its packets come in, when whoever named the pod knows; else it is found out. */
  readonly link?: string;
  readonly port?: string;
};

/** Tells of the pods of this machine, again and again, always of all of them. */
export type PodSource = {
  start(onPods: (pods: readonly Pod[]) => void): void;
  stop(): void;
  /** Why the last list may be out of date; undefined when it is not. */
  staleBecause(): string | undefined;
};
