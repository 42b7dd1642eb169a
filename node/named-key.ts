import { hash } from "node:crypto";
import {
  asKey,
  isContractKey,
  type PresentedKey,
  presentedCredential,
  presentedKey,
  presentedProxyKey,
} from "./credential.ts";
import type { Exchange } from "./dataplane/exchange.ts";
import { type Identity, isMissing, type Missing } from "./decision/facts.ts";
import { type PresentedContract, presentedContract } from "./presented-contract.ts";
import { heldHandle } from "./thread-messages.ts";

/** What the mesh thread is asked by. */
export type NamedKey = {
  readonly handle: string;
  readonly isContract: boolean;
  /** The agent that the client takes itself for; empty where it does not say. */
  readonly agentId: string;
  /** A contract that was presented instead of a virtual key; possession of its key is to be proven. */
  readonly presented?: PresentedContract;
};

/**
 * What names the key of a request. On a connection that was opened with one, a request need not bring
 * another; what it brings must be ours all the same. So it is with one that is sent to the proxy itself.
 */
export function namedKey({
  head,
  via,
  proxied,
  keyMemo,
}: Pick<Exchange, "head" | "via" | "proxied" | "keyMemo">): NamedKey | Missing {
  const contract = presentedContract(head.rawHeaders);
  if (contract !== undefined) {
    if (isMissing(contract)) return contract;
    if (via !== undefined || proxied !== undefined) return { missing: "proof_door" };
    const handle = heldHandle(contract.id);
    return { handle, isContract: true, agentId: "", presented: contract };
  }
  if (proxied !== undefined) return keyToProxy(head.rawHeaders, presentedKey(head.rawHeaders));
  const credential = presentedCredential(head.rawHeaders);
  if (typeof credential === "string") {
    return keyMemo === undefined ? keyIn(credential) : keyMemo.of(credential, keyIn);
  }
  if (via === undefined || credential.missing !== "credential_missing") return credential;
  return { handle: via.keyHandle, isContract: via.isContract, agentId: "" };
}

function keyIn(credential: string): NamedKey | Missing {
  const key = asKey(credential);
  return isMissing(key) ? key : asNamedKey(key, "");
}

function keyToProxy(
  rawHeaders: readonly string[],
  presented: PresentedKey | Missing,
): NamedKey | Missing {
  const toProxy = presentedProxyKey(rawHeaders);
  if (isMissing(toProxy)) {
    if (toProxy.missing !== "credential_missing") return toProxy;
    return isMissing(presented) ? presented : asNamedKey(presented, "");
  }
  if (!isMissing(presented) && presented.key !== toProxy.key) {
    return { missing: "credentials_conflict" };
  }
  if (isMissing(presented) && presented.missing !== "credential_missing") return presented;
  return asNamedKey(toProxy, toProxy.agentId);
}

/** What names the key that was sent to the proxy, and the name that was beside it. */
export function namedProxyKey(rawHeaders: readonly string[]): NamedKey | Missing {
  const presented = presentedProxyKey(rawHeaders);
  return isMissing(presented) ? presented : asNamedKey(presented, presented.agentId);
}

/** A key as it was presented, and the name that was beside it. */
function asNamedKey({ keyId, key }: PresentedKey, agentId: string): NamedKey {
  // Of the whole key, hexadecimal.
  const handle = hash("sha256", key, "hex");
  return { handle, isContract: isContractKey(keyId), agentId };
}

/** A name beside a key is nothing but a second statement of who asks: the two must agree. */
export function asNamed(identity: Identity | Missing, named: string): Identity | Missing {
  if (isMissing(identity) || named === "" || named === identity.agentId) return identity;
  return { missing: "credentials_conflict", detail: "the user name is not the key's agent" };
}
