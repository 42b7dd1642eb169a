import type { MeshState } from "../../mesh/state.ts";

/** A contract's scope that tells its end, for whoever has forgotten its revocation. */
export function revokedScope(endMs: number, no: number): string {
  return `contract/${String(endMs).padStart(16, "0")}-${String(no).padStart(26, "0")}`;
}

/** Version of a scope; that of a contract which the mesh knows to have ended is none that could fall. */
export function versionIn(state: MeshState, scope: string): number {
  const hasEnded =
    scope.startsWith("contract/") && Number(scope.slice(9, 25)) <= state.contractsEndedMs;
  return hasEnded ? Number.POSITIVE_INFINITY : (state.get(scope)?.v ?? 0);
}
