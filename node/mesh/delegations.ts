import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Claims, writeClaims } from "../../authority/claims.ts";
import type { Delegation } from "../../authority/delegation.ts";
import { holderJwk, thumbprintUri } from "../../authority/holder-key.ts";
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
import type { DelegationAnswer } from "../thread-messages.ts";
import type { ContractDesk, ServedContract } from "./contract-desk.ts";
import { readRate } from "./read-rate.ts";

const KEY_ID_BYTES = 5;
const SECRET_BYTES = 32;
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
  const node = delegation.node === "" ? deps.node : delegation.node;
  const holder = node === deps.node ? deps.signer.publicKey : deps.trust.nodeKey(node)?.publicKey;
  if (holder === undefined) return { refused: "delegation_holder", detail: `node ${node}` };
  const key = newKey(deps.random);
  const chain = signed(parent, { ...delegation, holder, key }, deps);
  const value = create(CarveRequestSchema, { chain });
  const result = await ask(deps, { case: "carve", value });
  const body = "reply" in result ? result.reply.body : undefined;
  if (body?.case === "refused") return refusedBy(body.value);
  if (body?.case !== "carve") return { refused: "contract_unavailable", detail: "no answer came" };
  const rate = readRate(body.value.parentRate);
  if (rate !== undefined) deps.desk.setRate(parent.keySha256, rate);
  deps.onCarved();
  return { contract: body.value.contract, key, chain };
}

function signed(
  parent: ServedContract,
  of: Delegation & { readonly holder: Uint8Array; readonly key: string },
  { signer, clock, random }: DelegationsDeps,
): string {
  const { leaf } = parent.verified;
  const nowMs = clock.nowMs();
  const sha256 = createHash("sha256").update(of.key).digest("base64url");
  const claims: Claims = {
    ...leaf.claims,
    agent: of.agent,
    holder: holderJwk(of.holder),
    bearer: { sha256, source: of.source },
    issuer: thumbprintUri(leaf.claims.holder),
    label: uuidV7(nowMs, random),
    depth: leaf.claims.depth + 1,
    issuedAt: Math.max(leaf.claims.issuedAt, Math.floor(nowMs / 1000)),
    parent: leaf.id,
    authority: of.authority,
  };
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

function newKey(random: Random): string {
  const id = CONTRACT_KEY_PREFIX + Buffer.from(random.bytes(KEY_ID_BYTES)).toString("hex");
  return `altk_${id}_${Buffer.from(random.bytes(SECRET_BYTES)).toString("base64url")}`;
}
