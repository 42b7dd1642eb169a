/** How the mesh thread finds the mesh, and whether the node may allow anything by it. */
export type MeshStatus = {
  readonly open: boolean;
  readonly busUp: boolean;
  readonly digestAgeMs: number | undefined;
  readonly lastSeq: number;
  readonly stateHash: string;
  readonly closedBecause: readonly string[];
  /** Names of those that were heard, and how many the mesh trusts. */
  readonly coordinators: { readonly names: readonly string[]; readonly trusted: number };
};

/** What the control plane answered: the reply as it came, and the key that signed it. */
export type MeshAnswer = { readonly bytes: Uint8Array; readonly kid: string };
