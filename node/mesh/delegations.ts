import { hash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { childClaims } from "../../authority/child-claims.ts";
import { writeClaims } from "../../authority/claims.ts";
import type { Delegation } from "../../authority/delegation.ts";
import { type HolderJwk, holderJwk } from "../../authority/holder-key.ts";
import type { Rate } from "../../authority/rate.ts";
import { signingInputOf, tokenOf } from "../../authority/token.ts";
import { type Contract, LINK_SEPARATOR } from "../../authority/verify-chain.ts";
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
import { type DelegationAnswer, type Funding, heldHandle } from "../thread-messages.ts";
import type { ContractDesk, ServedContract } from "./contract-desk.ts";
import { readRate } from "./read-rate.ts";

const ASK_TIMEOUT_MS = 2_000;

type NotDelegated = Extract<DelegationAnswer, { readonly refused: unknown }>;

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
  /** What the contract of that key may use of its rate has changed: what loops know of it is void. */
  readonly onRate: (keySha256: string) => void;
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
  const { node, authority } = delegation;
  const carved = await carve({ chain, node, rate: authority.rate }, parent, deps);
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
  const { rate } = verified.leaf.claims.authority;
  const carved = await carve({ chain, node, rate }, parent, deps);
  return "refused" in carved ? carved : { ...carved, chain };
}

/**
 * The same for whoever shows nothing but the chain, on the control plane's word: its delegator is the contract
 * above the last one, if this node serves that.
 */
export async function fundFor(funding: Funding, deps: DelegationsDeps): Promise<DelegationAnswer> {
  const { desk } = deps;
  const verified = await desk.verify(funding.chain);
  if (typeof verified === "string") return { refused: verified, detail: "of the chain" };
  const above = verified.links.at(-2);
  if (above === undefined) return { refused: "contract_order", detail: "a root is issued" };
  const handle = handleOf(above);
  const parent = desk.known(handle) ?? (await desk.find(handle));
  return typeof parent === "string"
    ? { refused: parent, detail: "of the delegator" }
    : fund(parent, funding, deps);
}

/** By what the desk knows a contract: its key's hash, or a name where its agent has a key of its own. */
function handleOf({ id, claims }: Contract): string {
  const { sha256 } = claims.bearer;
  return sha256 === "" ? heldHandle(id) : Buffer.from(sha256, "base64url").toString("hex");
}

/**
 * Moves money and rate. The delegator's requests go without that rate from before the ledger is asked,
 * and get it back only by the ledger's word: an answer that was lost may have been a yes.
 */
async function carve(
  of: { readonly chain: string; readonly node: string; readonly rate: Rate },
  parent: ServedContract,
  deps: DelegationsDeps,
): Promise<{ readonly contract: string } | NotDelegated> {
  const { chain, node, rate } = of;
  const begun = deps.desk.beginCarve(parent, rate);
  if (begun === undefined) {
    return { refused: "contract_unavailable", detail: "delegations from it are not settled" };
  }
  deps.onRate(parent.keySha256);
  const { answer, end } = outcomeOf(
    await ask(deps, { case: "carve", value: create(CarveRequestSchema, { chain, node }) }),
  );
  deps.desk.endCarve(begun, end);
  deps.onRate(parent.keySha256);
  return answer;
}

/** What the caller is told, and what is known of the delegator's rate. */
function outcomeOf(result: { readonly reply: NodeReply } | { readonly fault: string }): {
  readonly answer: { readonly contract: string } | NotDelegated;
  readonly end: Parameters<ContractDesk["endCarve"]>[1];
} {
  const body = "reply" in result ? result.reply.body : undefined;
  if (body?.case === "refused") {
    const { reason, message } = body.value;
    // A name that is no reason is a fault over there, and a fault may come after the deed.
    if (!Object.hasOwn(REASONS, reason)) {
      return { answer: { refused: "contract_unavailable", detail: message }, end: "unknown" };
    }
    return { answer: { refused: reason as Reason, detail: message }, end: "refused" };
  }
  if (body?.case !== "carve") {
    return {
      answer: { refused: "contract_unavailable", detail: "no answer came" },
      end: "unknown",
    };
  }
  const left = readRate(body.value.parentRate);
  const { contract } = body.value;
  return { answer: { contract }, end: left === undefined ? "unknown" : { left } };
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
