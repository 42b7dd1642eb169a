import { create } from "@bufbuild/protobuf";
import { parseBaseUrl } from "../policy/base-url.ts";
import { isHostName } from "../policy/hosts.ts";
import type { Clock } from "../ports/clock.ts";
import { CertifyReplySchema, type CertifyRequest } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { type ReplyBody, refusedBody } from "./node-requests.ts";
import type { PolicyInHand } from "./policy-in-hand.ts";
import { policyOfBundle } from "./policy-of-bundle.ts";

/** Signs with the root under which agents trust what a node shows them. It stays here. */
export type NodeCertifier = (of: {
  readonly node: string;
  readonly publicKey: Uint8Array;
  readonly hosts: readonly string[];
  readonly nowMs: number;
  readonly notAfterMs: number;
}) => Promise<string>;

/** A node's certificate is good for this long; a node that is removed can use it until then. */
export const CERTIFICATE_MS = 24 * 60 * 60_000;
const PUBLIC_KEY_BYTES_MAX = 256;

/**
 * Certifies a node's key for the hosts of model providers that the signed policy names: the node does
 * not say which. A host of clear text has no TLS, and an address cannot be constrained to. A policy that the
 * node has and this coordinator has not read is waited for: the one before it may name other hosts.
 */
export async function certify(
  of: {
    readonly certifier?: NodeCertifier;
    readonly policy: Pick<PolicyInHand, "now">;
    readonly clock: Clock;
  },
  { publicKey, policyV }: CertifyRequest,
  node: string,
): Promise<ReplyBody> {
  const { certifier, policy, clock } = of;
  if (certifier === undefined) return refusedBody("no_root", "this coordinator has no root");
  if (publicKey.length === 0 || publicKey.length > PUBLIC_KEY_BYTES_MAX) {
    return refusedBody("malformed_request", "public key");
  }
  // No hosts is the last word until policy changes, which the node has already seen.
  if (policy.now === undefined || BigInt(policy.now.v) < policyV) {
    return refusedBody("policy_unread", `policy ${policyV} is not read here`);
  }
  const hosts = inspectedHosts(policy.now.bundle);
  if (hosts.length === 0) return refusedBody("no_hosts", "policy names no host to look into");
  const nowMs = clock.nowMs();
  const notAfterMs = nowMs + CERTIFICATE_MS;
  const certificate = await certifier({ node, publicKey, hosts, nowMs, notAfterMs });
  const value = { certificate, hosts: [...hosts], notAfterMs: BigInt(notAfterMs) };
  return { case: "certify", value: create(CertifyReplySchema, value) };
}

function inspectedHosts(bundle: Uint8Array): readonly string[] {
  const read = policyOfBundle(bundle);
  if (!read.ok) return [];
  const urls = [...read.document.providers.values()].map(({ baseUrl }) => parseBaseUrl(baseUrl));
  const hosts = urls.flatMap((url) =>
    url?.origin.startsWith("https:") && isHostName(url.host) ? [url.host] : [],
  );
  return [...new Set(hosts)];
}
