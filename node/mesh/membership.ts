import type { MeshState } from "../../mesh/state.ts";
import type { TrustView } from "../../mesh/trust.ts";

/** Whether this node may open at all, digests aside. */
export type Membership = "member" | "not_enrolled" | "node_removed";

/**
 * What merged state says of this node: enrolled with the key it holds, removed, or not known.
 *
 * A node that is not a member is not counted when an operator asks who has enforced a kill, so it must
 * stay closed.
 */
export function membershipOf(
  node: string,
  publicKey: Uint8Array,
  view: { readonly state: MeshState; readonly trust: TrustView },
): Membership {
  if (view.state.killed(`node/${node}`)) return "node_removed";
  const enrolled = view.trust.nodeKey(node)?.publicKey;
  const isOwn = enrolled !== undefined && Buffer.compare(enrolled, publicKey) === 0;
  return isOwn ? "member" : "not_enrolled";
}
