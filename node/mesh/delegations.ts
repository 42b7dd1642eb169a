import { hash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { childClaims } from "../../authority/child-claims.ts";
import { writeClaims } from "../../authority/claims.ts";
import type { Delegation } from "../../authority/delegation.ts";
import { type HolderJwk, holderJwk } from "../../authority/holder-key.ts";
import { signingInputOf, tokenOf } from "../../authority/token.ts";
import { LINK_SEPARATOR } from "../../authority/verify-chain.ts";
import type { TrustView } from "../../mesh/trust.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Signer } from "../../ports/keys.ts";
import { type Random, uuidV7 } from "../../ports/random.ts";
import {
  CarveRequestSchema,
  type NodeReply,
  type NodeRequest,
} from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { REASONS, type Reason } from "../../proto/reasons.ts";
import { CONTRACT_KEY_PREFIX } from "../credential.ts";
import { newVirtualKey } from "../new-virtual-key.ts";
import type { DelegationAnswer, Funding } from "../thread-messages.ts";
import type { ContractDesk, ServedContract } from "./contract-desk.ts";
import { readRate } from "./read-rate.ts";

const ASK_TIMEOUT_MS = 2_000;

export type DelegationsDeps = {
  readonly node: string;
  readonly signer: Signer;
  readonly trust: TrustView;
  readonly desk: ContractDesk;
  readonly clock: Clock;
  readonly random: Random;
  readonly ask: (
    body: NodeRequest["body"],
    options: { readonly timeoutMs: number },
  ) => Promise<{ readonly reply: NodeReply } | { readonly fault: string }>;
  /** The delegator has less rate from now on: answers about its key are void. */
  readonly onCarved: () => void;
};

/**
 * Delegates in the name of an agent whose contract this node holds.
 *
 * The agent brings no key and signs nothing: this node's key is the contract's. The new contract is
 * signed first and carved then; one that the ledger does not open was never told to anybody.
 */
export async function delegate(
  parent: ServedContract,
  delegation: Delegation,
  deps: DelegationsDeps,
): Promise<DelegationAnswer> {
  const holder = holderOf(delegation, deps);
  if (holder === undefined) {
    return { refused: "delegation_holder", detail: `node ${delegation.node}` };
  }
  // Whoever holds its own key proves possession of it, and needs no other.
  const key =
    delegation.holder === "" ? newVirtualKey(deps.random, CONTRACT_KEY_PREFIX).key : undefined;
  const chain = signed(parent, { ...delegation, holderKey: holder, key }, deps);
  const carved = await carve({ chain, node: delegation.node }, parent, deps);
  if ("refused" in carved) return carved;
  return { ...carved, chain, ...(key !== undefined && { key }) };
}

/**
 * Gives a contract its account that was signed without this node: by an agent that holds its own key.
 *
 * Whoever asks is its delegator, which was shown before; that the chain is genuine is shown here, and
 * once more by the coordinator.
 */
export async function fund(
  parent: ServedContract,
  { chain, node }: Funding,
  deps: DelegationsDeps,
): Promise<DelegationAnswer> {
  if (node !== "" && node !== deps.node && deps.trust.nodeKey(node) === undefined) {
    return { refused: "delegation_holder", detail: `node ${node}` };
  }
  const verified = await deps.desk.verify(chain);
  if (typeof verified === "string") return { refused: verified, detail: "of the chain" };
  if (verified.leaf.claims.parent !== parent.verified.leaf.id) {
    return { refused: "contract_parent", detail: "not delegated from yours" };
  }
  const carved = await carve({ chain, node }, parent, deps);
  return "refused" in carved ? carved : { ...carved, chain };
}

/** Moves the money, and has everybody ask again for what is left of the delegator's rate. */
async function carve(
  of: { readonly chain: string; readonly node: string },
  parent: ServedContract,
  deps: DelegationsDeps,
): Promise<{ readonly contract: string } | Extract<DelegationAnswer, { refused: unknown }>> {
  const value = create(CarveRequestSchema, of);
  const result = await ask(deps, { case: "carve", value });
  const body = "reply" in result ? result.reply.body : undefined;
  if (body?.case === "refused") return refusedBy(body.value);
  if (body?.case !== "carve") return { refused: "contract_unavailable", detail: "no answer came" };
  const { contract, parentRate } = body.value;
  const rate = readRate(parentRate);
  if (rate !== undefined) deps.desk.setRate(parent, rate);
  deps.onCarved();
  return { contract };
}

function holderOf({ holder, node }: Delegation, deps: DelegationsDeps): HolderJwk | undefined {
  const isHere = node === "" || node === deps.node;
  const key = isHere ? deps.signer.publicKey : deps.trust.nodeKey(node)?.publicKey;
  if (key === undefined) return undefined;
  return holder === "" ? holderJwk(key) : { crv: "Ed25519", kty: "OKP", x: holder };
}

function signed(
  parent: ServedContract,
  of: Delegation & { readonly holderKey: HolderJwk; readonly key: string | undefined },
  { signer, clock, random }: DelegationsDeps,
): string {
  const nowMs = clock.nowMs();
  const sha256 = of.key === undefined ? "" : hash("sha256", of.key, "base64url");
  const claims = childClaims(parent.verified.leaf, {
    agent: of.agent,
    holder: of.holderKey,
    bearer: { sha256, source: of.source },
    label: uuidV7(nowMs, random),
    nowS: Math.floor(nowMs / 1000),
    authority: of.authority,
  });
  const input = signingInputOf(undefined, writeClaims(claims));
  const token = tokenOf(input, signer.sign(Buffer.from(input)));
  return `${parent.chain}${LINK_SEPARATOR}${token}`;
}

async function ask({ ask: send }: DelegationsDeps, body: NodeRequest["body"]) {
  try {
    return await send(body, { timeoutMs: ASK_TIMEOUT_MS });
  } catch {
    return { fault: "failed" };
  }
}

/** The ledger's no, by its name where callers may be told it. */
function refusedBy(of: { readonly reason: string; readonly message: string }): DelegationAnswer {
  const { reason, message } = of;
  const refused = Object.hasOwn(REASONS, reason) ? (reason as Reason) : "contract_unavailable";
  return { refused, detail: message };
}
