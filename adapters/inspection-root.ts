import { openRoot } from "./stored-root.ts";

/** What agents are told to trust, in the coordinator's HOME. */
export const ROOT_CERTIFICATE = "inspection-root.pem";
const FILES = { certificate: ROOT_CERTIFICATE, key: "inspection-root.key" };

/**
 * The root under which nodes look into TLS: read from `home`, and made there at the first start.
 * Several coordinators of one mesh are given the same two files. What signs is loaded when a node
 * first asks: few meshes look into TLS.
 *
 * @returns What signs for a node; see `NodeCertifier`.
 */
export async function openInspectionRoot(of: {
  readonly home: string;
  readonly mesh: string;
  readonly nowMs: number;
}) {
  const root = await openRoot({
    ...of,
    files: FILES,
    name: `Altrace inspection root of ${of.mesh}`,
  });
  return async (node: {
    readonly node: string;
    readonly publicKey: Uint8Array;
    readonly hosts: readonly string[];
    readonly nowMs: number;
    readonly notAfterMs: number;
  }) => {
    const { certifyNode } = await import("./x509-authority.ts");
    return certifyNode({ root, ...node, name: `Altrace node ${node.node} of ${of.mesh}` });
  };
}
