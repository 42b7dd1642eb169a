// Contracts that this node serves: asked of the coordinator once, verified here, kept for a while.
//
// K1. A contract counts by its signatures under this node's trust alone; who sent it is nothing.
// K2. It is served by the node that holds its key, for the virtual key that was signed into it; one that
//     its agent holds, by the node for which it was funded, for whoever proves possession of its key.
// K3. What was verified under one trust bundle is verified again under the next, also where that came in the
//     middle. Signatures that were found good are not looked at again; who is trusted is.
// K4. What is delegated from a contract is not its own any more from before the ledger is asked, whatever comes of
//     the question (./unsettled-carves.ts).
// K5. Keys that nobody has cost their source look-ups, and the coordinator no more than those. A contract
//     that is kept costs nobody any: who tries keys cannot keep others of their address from theirs.

import { create } from "@bufbuild/protobuf";
import { publicKeyOf } from "../../authority/holder-key.ts";
import { KnownLinks } from "../../authority/known-links.ts";
import { type Rate, rate as rates } from "../../authority/rate.ts";
import type { VerifiedChain } from "../../authority/verify-chain.ts";
import { operatorKey, type TrustView } from "../../mesh/trust.ts";
import { checkTimeZone } from "../../policy/hours.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Keys } from "../../ports/keys.ts";
import {
  ContractRequestSchema,
  type NodeReply,
  type NodeRequest,
} from "../../proto/gen/altrace/v1/mesh_pb.ts";
import type { Reason } from "../../proto/reasons.ts";
import { contractOfHandle } from "../thread-messages.ts";
import type { Directory, Resolved } from "./directory.ts";
import { readRate } from "./read-rate.ts";
import { type Carve, UnsettledCarves } from "./unsettled-carves.ts";
import { verifyChainInTurns } from "./verify-in-turns.ts";

/** Contracts kept at once; the one that was asked for longest ago makes room. */
export const CONTRACTS_KEPT_MAX = 10_000;
/** How long the answer of a coordinator stands: then it is asked what is left of the rate. */
const KEPT_NS = 30_000_000_000n;
/** How long one stands that crossed a delegation. */
const CROSSED_NS = 1_000_000_000n;
const ASK_TIMEOUT_MS = 800;

/** A contract as this node serves it. */
export type ServedContract = {
  /** SHA-256 of its virtual key, hexadecimal; or the handle of one that its agent holds. */
  readonly keySha256: string;
  readonly chain: string;
  /** Monotonic ns until which it need not be asked for again. */
  readonly freshUntilNs: bigint;
  readonly verified: VerifiedChain;
  /** What its own requests may use. */
  readonly rate: Rate;
};

type Kept = {
  readonly served: ServedContract;
  /** Version of the trust bundle that it was verified under. */
  readonly trustVersion: number;
};

export type ContractDeskDeps = {
  readonly mesh: string;
  readonly trust: TrustView;
  readonly verify: Keys["verify"];
  readonly clock: Clock;
  /** Contracts that end by then have ended, whatever the clock shows: ms since the Unix epoch. */
  readonly endedMs: () => number;
  /** Of the trust bundle in force. */
  readonly trustVersion: () => number;
  /** Whether this raw public key is one of this node's. */
  readonly isOwn: (publicKey: Uint8Array) => boolean;
  /** Resolves in a later turn: a chain's links are verified one a turn, between kills. */
  readonly nextTurn: () => Promise<unknown>;
  readonly ask: (
    body: NodeRequest["body"],
    options: { readonly timeoutMs: number },
  ) => Promise<{ readonly reply: NodeReply } | { readonly fault: string }>;
};

/** The row for a key that a contract was born with. */
export function resolveContract(of: {
  readonly contracts: ContractDesk;
  readonly directory: Directory;
  readonly keySha256: string;
  readonly source: string;
  readonly nowNs: bigint;
}): Resolved | Promise<Resolved> {
  const { contracts, directory, keySha256, source, nowNs } = of;
  const served = contracts.known(keySha256);
  if (served !== undefined) return directory.resolveContract(served, nowNs);
  if (!contracts.isKept(keySha256) && !directory.admit(source, nowNs)) {
    return { refused: "lookups_exhausted" };
  }
  return contracts
    .find(keySha256)
    .then((found) =>
      typeof found === "string" ? { refused: found } : directory.resolveContract(found, nowNs),
    );
}

export class ContractDesk {
  readonly #deps: ContractDeskDeps;
  readonly #kept = new Map<string, Kept>();
  readonly #links = new KnownLinks();
  readonly #carves = new UnsettledCarves();
  readonly #asking = new Map<string, Promise<ServedContract | Reason>>();

  constructor(deps: ContractDeskDeps) {
    this.#deps = deps;
  }

  /** The contract of that key as it is known now; undefined: it is to be asked for. */
  known(keySha256: string): ServedContract | undefined {
    const kept = this.#kept.get(keySha256);
    if (kept === undefined || kept.trustVersion !== this.#deps.trustVersion()) return undefined;
    const { expires } = kept.served.verified.effective.validity;
    const isFresh =
      this.#deps.clock.monoNs() < kept.served.freshUntilNs && expires * 1000 > this.#deps.endedMs();
    return isFresh ? this.#seen(kept.served) : undefined;
  }

  /** Whether it was served here before, under this trust or an earlier one. */
  isKept(keySha256: string): boolean {
    return this.#kept.has(keySha256);
  }

  /** Asks the coordinator. Questions for one key are one question. Never rejects. */
  find(keySha256: string): Promise<ServedContract | Reason> {
    const asking = this.#asking.get(keySha256);
    if (asking !== undefined) return asking;
    const question = this.#find(keySha256).finally(() => this.#asking.delete(keySha256));
    this.#asking.set(keySha256, question);
    return question;
  }

  /** K4: before the ledger is asked. `undefined`: too many delegations from it are not settled. */
  beginCarve({ keySha256 }: Pick<ServedContract, "keySha256">, rate: Rate): Carve | undefined {
    return this.#carves.begin({ keySha256, rate });
  }

  /**
   * K4: the ledger's word on it, with what is left where it was carved; or that there was none.
   *
   * Of two answers that cross the lower one stands, until the ledger is asked again.
   */
  endCarve(carve: Carve, end: { readonly left: Rate } | "refused" | "unknown"): void {
    const { keySha256 } = carve;
    const kept = this.#kept.get(keySha256);
    const how = typeof end === "string" ? end : "carved";
    this.#carves.end(carve, how);
    if (kept === undefined) {
      if (!this.#asking.has(keySha256)) this.#carves.forget(keySha256);
    } else if (typeof end !== "string") {
      const { served } = kept;
      const rate = rates.meet(served.rate, end.left);
      this.#kept.set(keySha256, { ...kept, served: { ...served, rate } });
    }
  }

  /** The chain under this node's trust as it is once it is answered; a reason where it does not count here. */
  async verify(chain: string): Promise<VerifiedChain | Reason> {
    for (;;) {
      const trustVersion = this.#deps.trustVersion();
      const verified = await this.#verifiedOnce(chain);
      if (trustVersion === this.#deps.trustVersion()) return verified;
    }
  }

  async #verifiedOnce(chain: string): Promise<VerifiedChain | Reason> {
    const { mesh, trust, verify, clock, endedMs, nextTurn } = this.#deps;
    const nowMs = Math.max(clock.nowMs(), endedMs());
    const known = this.#links;
    const env = { mesh, known, nowMs, verify, operatorKey: operatorKey(trust, nowMs) };
    const verified = await verifyChainInTurns(chain, env, nextTurn);
    if ("refused" in verified) return verified.refused;
    const { hours } = verified.effective.validity;
    const areKnown = hours.every(({ zone }) => checkTimeZone(zone).known);
    return areKnown ? verified : "contract_unsupported";
  }

  async #find(keySha256: string): Promise<ServedContract | Reason> {
    const askedNs = this.#deps.clock.monoNs();
    const askedAt = this.#carves.now();
    const held = contractOfHandle(keySha256);
    const result = await this.#ask(
      held === undefined ? { keySha256: Buffer.from(keySha256, "hex") } : { contract: held },
    );
    // Its revocation is heard of elsewhere, so what was known stands for as long as nobody answers.
    if ("fault" in result) return this.#still(keySha256) ?? "contract_unavailable";
    const { body } = result.reply;
    if (body.case === "refused") return this.#notFound(keySha256, body.value.reason);
    const rate = body.case === "contract" ? readRate(body.value.rate) : undefined;
    if (body.case !== "contract" || rate === undefined) return "contract_unavailable";
    const freshUntilNs = askedNs + KEPT_NS;
    const served = await this.#served({ keySha256, chain: body.value.chain, rate, freshUntilNs });
    if (typeof served === "string") return served;
    // The one that it was verified under: nothing else has run since.
    const trustVersion = this.#deps.trustVersion();
    if (this.#carves.isAnswered(keySha256, askedAt)) return this.#keep({ served, trustVersion });
    // A delegation has ended meanwhile: what was known of the rate is newer than this answer.
    const newer = this.#kept.get(keySha256)?.served.rate;
    if (newer === undefined) return "contract_unavailable";
    const again = { ...served, rate: newer, freshUntilNs: askedNs + CROSSED_NS };
    return this.#keep({ served: again, trustVersion });
  }

  #seen(served: ServedContract): ServedContract {
    const rate = this.#carves.left(served.keySha256, served.rate);
    return rate === served.rate ? served : { ...served, rate };
  }

  #still(keySha256: string): ServedContract | undefined {
    const kept = this.#kept.get(keySha256);
    return kept?.trustVersion === this.#deps.trustVersion() ? this.#seen(kept.served) : undefined;
  }

  async #ask(of: { readonly keySha256: Uint8Array } | { readonly contract: string }) {
    try {
      const body = { case: "contract", value: create(ContractRequestSchema, of) } as const;
      return await this.#deps.ask(body, { timeoutMs: ASK_TIMEOUT_MS });
    } catch {
      return { fault: "failed" };
    }
  }

  #notFound(keySha256: string, reason: string): Reason {
    if (reason !== "contract_unknown" && reason !== "contract_elsewhere") {
      return "contract_unavailable";
    }
    this.#kept.delete(keySha256);
    if (reason === "contract_elsewhere") return reason;
    return contractOfHandle(keySha256) === undefined ? "key_unknown" : "contract_unfunded";
  }

  /** K1, K2. */
  async #served(of: Omit<ServedContract, "verified">): Promise<ServedContract | Reason> {
    const { keySha256, chain } = of;
    const verified = await this.verify(chain);
    if (typeof verified === "string") return verified;
    const { bearer, holder } = verified.leaf.claims;
    const held = contractOfHandle(keySha256);
    if (held !== undefined) {
      const isHeld = bearer.sha256 === "" && verified.leaf.id === held;
      return isHeld ? { ...of, verified } : "contract_unfunded";
    }
    const born = Buffer.from(bearer.sha256, "base64url").toString("hex");
    if (bearer.sha256 === "" || born !== keySha256) return "key_unknown";
    const key = publicKeyOf(holder);
    if (key === undefined || !this.#deps.isOwn(key)) return "contract_elsewhere";
    return { ...of, verified };
  }

  #keep(kept: Kept): ServedContract {
    this.#kept.delete(kept.served.keySha256);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size < CONTRACTS_KEPT_MAX) break;
      this.#kept.delete(oldest);
      if (!this.#asking.has(oldest)) this.#carves.forget(oldest);
    }
    this.#kept.set(kept.served.keySha256, kept);
    return this.#seen(kept.served);
  }
}
