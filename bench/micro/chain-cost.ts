import { createPublicKey, type KeyObject, verify as verifyByOpenssl } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { verifyEd25519 } from "../../adapters/ed25519.ts";
import { KnownLinks } from "../../authority/known-links.ts";
import { readEnvelope } from "../../authority/token.ts";
import { LINK_SEPARATOR, verifyChain } from "../../authority/verify-chain.ts";
import { LoopKeyCache } from "../../node/loop-key-cache.ts";
import { verifyChainInTurns } from "../../node/mesh/verify-in-turns.ts";
import { namedKey } from "../../node/named-key.ts";
import type { RowGrant } from "../../node/thread-messages.ts";
import {
  chainEnv,
  chainText,
  child,
  HOLDERS,
  OPERATOR,
  root,
} from "../../test/support/contract-forge.ts";
import { type Cost, costOf, costsOf, type Wait, waitOf } from "./cost-of.ts";

const DEPTH = 4;
const KEY = `altk_ct00000001_${"A".repeat(43)}`;

function chainOf(depth: number): string {
  const links = [root()];
  while (links.length <= depth) links.push(child(links.at(-1) as (typeof links)[0]));
  return chainText(...links);
}

/**
 * The processor time of a chain of four delegations, looked at by one thread alone: nothing of it is known, not even
 * the holders' keys; all but the last is known, as each delegation is to a node that serves its delegator; and in
 * the same minute the five signatures of the first alone, as what no reading of it can save: by the library that is
 * used, and by OpenSSL, keys imported.
 */
export function unknownChainCost(): Readonly<
  Record<"alone" | "next" | "signatures" | "openssl", Cost>
> {
  const chain = chainOf(DEPTH);
  const tokens = chain.split(LINK_SEPARATOR).map(readEnvelope);
  const keys = [OPERATOR, ...HOLDERS].map(({ publicKey }) => publicKey);
  const imported = keys.map((key) => createPublicKey(rawPublic(key)));
  const verify = verifyEd25519;
  const known = new KnownLinks();
  verifyChain(chainOf(DEPTH - 1), chainEnv({ verify, known }));
  // What is found out here is forgotten, so that the last link is unknown each time.
  known.keep = () => undefined;
  return costsOf({
    alone: () => lengthOf(verifyChain(chain, chainEnv({ verify }))),
    next: () => lengthOf(verifyChain(chain, chainEnv({ verify, known }))),
    signatures: () => {
      for (const [at, { signingInput, signature }] of tokens.entries()) {
        if (!verify(keys[at] as Uint8Array, signingInput, signature)) throw new Error("not signed");
      }
      return tokens.length;
    },
    openssl: () => {
      for (const [at, { signingInput, signature }] of tokens.entries()) {
        const isGood = verifyByOpenssl(null, signingInput, imported[at] as KeyObject, signature);
        if (!isGood) throw new Error("not signed");
      }
      return tokens.length;
    },
  });
}

function rawPublic(key: Uint8Array) {
  return { key, format: "raw-public", asymmetricKeyType: "ed25519" } as const;
}

/** What whoever asks a node waits for, once it has the text: the same chain as `ContractDesk` has it verified. */
export function unknownChainWait(): Promise<Wait> {
  const chain = chainOf(DEPTH);
  return waitOf(async () => {
    lengthOf(await verifyChainInTurns(chain, chainEnv({ verify: verifyEd25519 }), nextTurn));
  });
}

function lengthOf(verified: ReturnType<typeof verifyChain>): number {
  if ("refused" in verified) throw new Error(verified.refused);
  return verified.links.length;
}

/** The same once its links are known: what a node does each half a minute. */
export function knownChainCost(): number {
  const chain = chainOf(DEPTH);
  const env = chainEnv({ verify: verifyEd25519, known: new KnownLinks() });
  return costOf(() => lengthOf(verifyChain(chain, env)));
}

/** What it costs to find whose contract a request runs under: its key is read, hashed and looked up. */
export function warmContractCost(): number {
  const cache = new LoopKeyCache({ entriesMax: 16 });
  const grant = { row: 1, keyGeneration: 1 } as RowGrant;
  const rawHeaders = ["host", "node-1:4000", "authorization", `Bearer ${KEY}`];
  const head = { method: "POST", target: "/v1/chat/completions", rawHeaders, peer: "::1" };
  const find = () => {
    const named = namedKey({ head });
    return "handle" in named ? { handle: named.handle, row: cache.find(named.handle, 1) } : named;
  };
  const first = find();
  if ("handle" in first) cache.put(first.handle, grant, 1);
  return costOf(() => {
    const found = find();
    if (!("row" in found) || found.row !== grant) throw new Error("the sample is not known");
    return grant.row;
  });
}
