import type { MeshUnderTest } from "../harness/mesh-under-test.ts";

/** What a request costs is asked here, and not how soon a busy machine's ledger has money for it, ms. */
export const RESERVE_WAIT_MS = 5_000;

/** One thing there can be more of, while a request stays the same. */
export type Axis = {
  readonly name: string;
  /** What is counted along it. */
  readonly of: string;
  /** How many there are at each point, rising. */
  readonly points: { readonly full: readonly number[]; readonly short: readonly number[] };
  /** Why it ends where it ends. */
  readonly end: string;
  /** Brings a mesh from one point to the next; returns the key that asks there. */
  readonly raise: (mesh: MeshUnderTest, to: number) => Promise<string>;
  /** Ends what it opened. */
  readonly close?: () => void;
};
