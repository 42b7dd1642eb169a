import type { UpstreamRequest } from "../decision/permit.ts";
import type { Credentials } from "./credentials.ts";
import { DIALECTS } from "./dialects/registry.ts";

/** Headers of an upstream request that are not the client's. Undefined: the credential cannot be had. */
export function addedHeaders(
  { credential }: UpstreamRequest,
  credentials: Credentials,
): readonly string[] | undefined {
  if (credential === undefined) return [];
  const secret = credentials.secretOf(credential.name);
  if (secret === undefined) return undefined;
  // What is compressed has to be decompressed before it can be scanned.
  const encoding = ["accept-encoding", "identity"];
  return [...encoding, ...DIALECTS[credential.dialect].credentialHeader(secret)];
}
