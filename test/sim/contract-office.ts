import { hash } from "node:crypto";
import { readGrant } from "../../authority/authority-json.ts";
import { childClaims } from "../../authority/child-claims.ts";
import { type Claims, operatorUri, writeClaims } from "../../authority/claims.ts";
import { holderJwk } from "../../authority/holder-key.ts";
import { readEnvelope, signingInputOf, tokenOf } from "../../authority/token.ts";
import { type Contract, LINK_SEPARATOR } from "../../authority/verify-chain.ts";
import { CallRefused } from "../../coordinator/call-refusal.ts";
import { CommandRefused } from "../../coordinator/command-refused.ts";
import { LedgerFault } from "../../coordinator/ledger-actor.ts";
import { CONTRACT_KEY_PREFIX } from "../../node/credential.ts";
import { newVirtualKey } from "../../node/new-virtual-key.ts";
import type { Signer } from "../../ports/keys.ts";
import { type Random, uuidV7 } from "../../ports/random.ts";
import { StoreFault } from "../../ports/store.ts";
import type { ControlPlane } from "./control-plane.ts";
import { MESH } from "./sim-coordinator.ts";
import type { SimNode } from "./sim-node.ts";
import { CLASS_SCHEME, MODEL, REGION } from "./sim-policy.ts";
import type { Surroundings } from "./surroundings.ts";

/** Before they are issued: clocks of nodes jump, and a contract is to be good all the same. */
const AGO_S = 3 * 3_600;
const DEPTH_MAX = 3;

/** What a contract grants beside what all contracts of a world do. */
export type Grant = {
  readonly budget: { readonly usd_u: number; readonly tok: number; readonly calls: number };
  readonly rate: { readonly req: Bucket; readonly tok: Bucket; readonly usd_u: Bucket };
};

type Bucket = { readonly b: number; readonly n: number; readonly w: number };

/** A contract whose key somebody has, where it is served. */
export type HeldContract = {
  readonly id: string;
  readonly key: string;
  readonly agentId: string;
  readonly node: SimNode;
  readonly depth: number;
  readonly grant: Grant;
  /** Ms since the Unix epoch. */
  readonly endMs: number;
};

/** Signed, and of an agent that holds it by a key of its own, which signs what is delegated from it. */
export type OwnContract = {
  readonly chain: string;
  readonly contract: Contract;
  readonly signer: Signer;
  readonly agentId: string;
  readonly grant: Grant;
  readonly endMs: number;
};

type Wish = {
  readonly agentId: string;
  readonly node: SimNode;
  readonly grant: Grant;
  readonly endMs: number;
};

/** Issues contracts in an operator's name, and has others carved on the control plane's word. */
export class ContractOffice {
  readonly #world: Surroundings;
  readonly #plane: ControlPlane;
  readonly #operator: Signer;
  readonly #random: Random;

  constructor(
    world: Surroundings,
    of: { readonly plane: ControlPlane; readonly operator: Signer; readonly random: Random },
  ) {
    this.#world = world;
    this.#plane = of.plane;
    this.#operator = of.operator;
    this.#random = of.random;
  }

  /** A root that a node holds, for whoever has its key. Undefined when no coordinator opened it. */
  async issue(wish: Wish): Promise<HeldContract | undefined> {
    const { key, sha256 } = this.#newKey();
    const { claims, chain } = this.#root(wish, wish.node.signer.publicKey, sha256);
    const isOpen = await this.#isDone(() => this.#service?.issueContract(on(chain, wish.node)));
    if (!isOpen) return undefined;
    return { ...wish, id: readEnvelope(chain).id, key, depth: claims.depth };
  }

  /** A root that its agent holds; `node` serves it. */
  async issueOwn(wish: Wish): Promise<OwnContract | undefined> {
    const signer = this.#world.keys.newSigner();
    const { claims, chain } = this.#root(wish, signer.publicKey, "");
    const isOpen = await this.#isDone(() => this.#service?.issueContract(on(chain, wish.node)));
    if (!isOpen) return undefined;
    const contract = { id: readEnvelope(chain).id, claims };
    return { ...wish, chain, contract, signer };
  }

  /** Delegates from such a root, and has an operator ask for its money. */
  async delegate(parent: OwnContract, wish: Wish): Promise<HeldContract | undefined> {
    const { key, sha256 } = this.#newKey();
    const { agentId, node, grant, endMs } = wish;
    const { notBefore } = parent.contract.claims.authority.validity;
    const claims = childClaims(parent.contract, {
      agent: agentId,
      holder: holderJwk(node.signer.publicKey),
      bearer: { sha256, source: "" },
      label: uuidV7(this.#plane.nowMs(), this.#random),
      nowS: parent.contract.claims.issuedAt,
      authority: authorityOf(grant, { notBefore, expires: Math.floor(endMs / 1_000) }),
    });
    const input = signingInputOf(undefined, writeClaims(claims));
    const token = tokenOf(input, parent.signer.sign(Buffer.from(input)));
    const chain = `${parent.chain}${LINK_SEPARATOR}${token}`;
    const isOpen = await this.#isDone(() => this.#service?.delegate(on(chain, node)));
    if (!isOpen) return undefined;
    return { ...wish, id: readEnvelope(token).id, key, depth: claims.depth };
  }

  async revoke(contract: string): Promise<void> {
    const of = { contract, reason: "", operator: "olga" };
    const call = { signal: new AbortController().signal, caller: undefined };
    const scope = `contract/${contract}`;
    await this.#isDone(async () => {
      const said = await this.#service?.revokeContract(of as never, call);
      if (said?.command.accepted !== true) return undefined;
      this.#world.tell({ t: "accepted", scope, v: Number(said.command.v) });
      return said;
    });
  }

  /** Of the coordinator that leads the ledger, as operators ask for it; of another one while nobody does. */
  get #service() {
    return (this.#plane.leader ?? this.#plane.reachable)?.parts?.service;
  }

  #newKey(): { readonly key: string; readonly sha256: string } {
    const { key } = newVirtualKey(this.#random, CONTRACT_KEY_PREFIX);
    return { key, sha256: hash("sha256", key, "base64url") };
  }

  #root({ agentId, grant, endMs }: Wish, holder: Uint8Array, sha256: string) {
    const notBefore = Math.floor(this.#plane.nowMs() / 1_000) - AGO_S;
    const dates = { notBefore, expires: Math.ceil(endMs / 1_000) };
    const { kid } = this.#operator;
    const claims: Claims = {
      mesh: MESH,
      subject: "operator:olga",
      agent: agentId,
      holder: holderJwk(holder),
      bearer: { sha256, source: "" },
      issuer: operatorUri(kid),
      label: uuidV7(this.#plane.nowMs(), this.#random),
      depth: 0,
      depthMax: DEPTH_MAX,
      issuedAt: dates.notBefore,
      parent: "",
      authority: authorityOf(grant, dates),
    };
    const input = signingInputOf(kid, writeClaims(claims));
    return { claims, chain: tokenOf(input, this.#operator.sign(Buffer.from(input))) };
  }

  /** What the control plane refuses or cannot do now is this world's doing. */
  async #isDone(call: () => Promise<unknown> | undefined): Promise<boolean> {
    try {
      return (await call()) !== undefined;
    } catch (error) {
      const kinds = [CallRefused, CommandRefused, LedgerFault, StoreFault];
      if (kinds.some((kind) => error instanceof kind)) return false;
      throw error;
    }
  }
}

function authorityOf(
  grant: Grant,
  dates: { readonly notBefore: number; readonly expires: number },
): Claims["authority"] {
  const region = [REGION];
  const common = {
    class: { scheme: CLASS_SCHEME, lvl: 1, cmp: [] },
    geo: { src: region, proc: region, egr: region },
    models: [`openai/${MODEL}`],
    time: [],
    tools: {},
  };
  return readGrant({ ...common, ...grant }, dates);
}

function on(chain: string, { name }: SimNode) {
  return { chain, node: name };
}
