import { hash } from "node:crypto";
import { isContractKey, type PresentedKey, presentedKey } from "./credential.ts";
import type { Exchange } from "./dataplane/exchange.ts";
import { isMissing, type Missing } from "./decision/facts.ts";

/** What the mesh thread is asked by. */
export type NamedKey = { readonly handle: string; readonly isContract: boolean };

/**
 * What names the key of a request. On a connection that was opened with one, a request need not bring
 * another; what it brings must be ours all the same.
 */
export function namedKey({ head, via }: Pick<Exchange, "head" | "via">): NamedKey | Missing {
  const presented = presentedKey(head.rawHeaders);
  if (!isMissing(presented)) {
    return { handle: sha256Of(presented), isContract: isContractKey(presented.keyId) };
  }
  if (via === undefined || presented.missing !== "credential_missing") return presented;
  return { handle: via.keyHandle, isContract: via.isContract };
}

/** Of the whole key, hexadecimal. */
export function sha256Of({ key }: PresentedKey): string {
  return hash("sha256", key, "hex");
}
