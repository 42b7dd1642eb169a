import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Authority, certifyNode, createRoot } from "./x509-authority.ts";

/** What agents are told to trust, in the coordinator's HOME. */
export const ROOT_CERTIFICATE = "inspection-root.pem";
const ROOT_KEY = "inspection-root.key";
const ROOT_MS = 5 * 365 * 24 * 60 * 60_000;

/**
 * The root under which nodes look into TLS: read from `home`, and made there at the first start.
 * Several coordinators of one mesh are given the same two files.
 *
 * @returns What signs for a node; see `NodeCertifier`.
 */
export async function openInspectionRoot(of: {
  readonly home: string;
  readonly mesh: string;
  readonly nowMs: number;
}) {
  const root = readRoot(of.home) ?? (await foundRoot(of));
  return (node: {
    readonly node: string;
    readonly publicKey: Uint8Array;
    readonly hosts: readonly string[];
    readonly nowMs: number;
    readonly notAfterMs: number;
  }) => certifyNode({ root, ...node, name: `Altrace node ${node.node} of ${of.mesh}` });
}

function readRoot(home: string): Authority | undefined {
  // The certificate is written last: without it the root was never shown to anybody.
  if (!existsSync(join(home, ROOT_CERTIFICATE))) return undefined;
  return {
    certificate: readFileSync(join(home, ROOT_CERTIFICATE), "utf8"),
    privateKey: readFileSync(join(home, ROOT_KEY), "utf8"),
  };
}

async function foundRoot(of: {
  readonly home: string;
  readonly mesh: string;
  readonly nowMs: number;
}): Promise<Authority> {
  const name = `Altrace inspection root of ${of.mesh}`;
  const root = await createRoot({ name, nowMs: of.nowMs, validMs: ROOT_MS });
  write(join(of.home, ROOT_KEY), root.privateKey, 0o600);
  write(join(of.home, ROOT_CERTIFICATE), root.certificate, 0o644);
  return root;
}

function write(path: string, text: string, mode: number): void {
  writeFileSync(`${path}.new`, text, { mode });
  renameSync(`${path}.new`, path);
}
