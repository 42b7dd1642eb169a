import { createHash } from "node:crypto";
import { checkProof, type Proof } from "../authority/proof-of-possession.ts";
import type { Clock } from "../ports/clock.ts";
import type { Keys } from "../ports/keys.ts";
import type { Reason } from "../proto/reasons.ts";
import type { RequestHead } from "./dataplane/exchange.ts";
import type { Missing } from "./decision/facts.ts";
import type { PresentedContract } from "./presented-contract.ts";
import { NONCE_S, ProofNonces } from "./proof-nonces.ts";
import {
  isProofSpent,
  proofsPerEpoch,
  type Spent,
  spendProof,
  takeProofShare,
} from "./table/proof-cells.ts";
import type { Table } from "./table/table.ts";
import type { RowGrant } from "./thread-messages.ts";

// Whether whoever presents a contract of an agent's own key holds that key: once a request, before
// anything is done in the agent's name.
//
// O1. What was presented with a proof is served for a proof alone, and a contract that its agent holds is
//     served for nothing else. Whatever is neither is refused.
// O2. A proof is good at one node, for one start of it and for one request.
// O3. Who fails keeps nobody else from being served: nothing is counted against an address or a contract
//     before the proof is known to be its holder's. A failure ends its connection, as any refusal does.

export type PossessionDeps = {
  readonly table: Table;
  readonly clock: Clock;
  readonly verify: Keys["verify"];
  /** Of this start of the node, the same on all of its loops. */
  readonly secret: Uint8Array;
};

const UNSPENT: { readonly [S in Exclude<Spent, "spent">]: Reason } = {
  replayed: "proof_replayed",
  full: "proof_store_full",
};

/** Reasons that a client meets by asking again with the nonce that it is told. */
const ASKS_FOR_NONCE: ReadonlySet<Reason> = new Set<Reason>(["proof_missing", "proof_nonce"]);

export class Possession {
  readonly #deps: PossessionDeps;
  readonly #nonces: ProofNonces;

  constructor(deps: PossessionDeps) {
    this.#deps = deps;
    this.#nonces = new ProofNonces(deps.secret);
  }

  /** Why the request proves nothing; undefined: it need not, or it does and its proof is spent. */
  objection(
    row: RowGrant,
    presented: PresentedContract | undefined,
    head: RequestHead,
  ): Missing | undefined {
    const holder = row.contract?.holder;
    if (holder === undefined) return presented && { missing: "proof_key", detail: "it has none" };
    if (presented === undefined || presented.id !== row.contractId) return { missing: "proof_key" };
    if (presented.proof === undefined) return { missing: "proof_missing" };
    const host = hostOf(head.rawHeaders);
    if (host === undefined) return { missing: "proof_request", detail: "no single host" };
    const { clock, verify } = this.#deps;
    const question = head.target.indexOf("?");
    const good = this.#nonces.good(clock.monoNs());
    const proof = checkProof(presented.proof, {
      holder,
      tokenSha256: presented.tokenSha256,
      method: head.method,
      host,
      path: question < 0 ? head.target : head.target.slice(0, question),
      nowMs: clock.nowMs(),
      nonces: good.map(({ nonce }) => nonce),
      verify,
    });
    if ("refused" in proof) return { missing: proof.refused, detail: proof.detail };
    const epoch = good.find(({ nonce }) => nonce === proof.nonce)?.epoch;
    if (epoch === undefined) return { missing: "proof_nonce" };
    return this.#spend(proof, row, epoch);
  }

  /**
   * The nonce for a client's next request, and the challenge where it is refused for want of one: flat
   * name, value, ... Nothing for whoever proves no possession.
   */
  headers(row: RowGrant | undefined, refused?: Reason): readonly string[] {
    const isProof = refused?.startsWith("proof_") === true;
    if (row?.contract?.holder === undefined && !isProof) return [];
    const { nonce } = this.#nonces.current(this.#deps.clock.monoNs());
    const error = refused && ASKS_FOR_NONCE.has(refused) ? "use_dpop_nonce" : "invalid_dpop_proof";
    const challenge = ["www-authenticate", `DPoP error="${error}", algs="Ed25519"`];
    return ["dpop-nonce", nonce, ...(isProof ? challenge : [])];
  }

  #spend({ jti, nonce }: Proof, row: RowGrant, epoch: number): Missing | undefined {
    const { table, clock } = this.#deps;
    const { epoch: now } = this.#nonces.current(clock.monoNs());
    const { req } = row.contract?.rate ?? {};
    const most = req === undefined ? 0 : proofsPerEpoch(req, NONCE_S);
    // Two contracts may use one jti; neither an id nor a nonce holds the separator.
    const sha256 = createHash("sha256").update(`${row.contractId}.${nonce}.${jti}`).digest();
    // O3: whoever has seen a proof is not its holder.
    if (isProofSpent(table, sha256, epoch)) return { missing: "proof_replayed" };
    if (!takeProofShare(table, row.row, { now, most })) return { missing: "proofs_exhausted" };
    const spent = spendProof(table, sha256, { epoch, now });
    return spent === "spent" ? undefined : { missing: UNSPENT[spent] };
  }
}

function hostOf(rawHeaders: readonly string[]): string | undefined {
  const found: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if ((rawHeaders[i] as string).toLowerCase() === "host") found.push(rawHeaders[i + 1] as string);
  }
  return found.length === 1 ? found[0] : undefined;
}
