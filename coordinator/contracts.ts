// Contracts as the control plane keeps them: verified once more, opened in the ledger, handed to the
// node that holds their key, revoked with everything below.
//
// K1. Nothing is taken in that a node would refuse: the same verification, by the same trust.
// K2. Below what is revoked nothing is opened and nothing is lent, by the mesh's state and by the
//     ledger, whichever hears of it first.
//     Nor below an agent that was killed: it may well have the keys of those that it delegated to. Nor is
//     anything lent while its team or everybody is killed.
// K3. A contract is lent to and served on one node: the one whose key it is held by, or where its agent
//     holds it, the one that was named when its account was opened.
// K4. What was delegated from a contract is carved for the node that serves that contract, and for nobody else, the
//     operator included: it is the one that takes the child's rate from its delegator's requests first.

import type { ContractRefusal } from "../authority/contract-refusal.ts";
import { publicKeyOf } from "../authority/holder-key.ts";
import { killScopesOf } from "../authority/kill-scopes.ts";
import { KnownLinks } from "../authority/known-links.ts";
import type { Rate } from "../authority/rate.ts";
import { type Contract, type VerifiedChain, verifyChain } from "../authority/verify-chain.ts";
import { operatorKey } from "../mesh/trust.ts";
import type { Clock } from "../ports/clock.ts";
import type { Keys } from "../ports/keys.ts";
import { type ContractAccount, contractAccountName } from "./contract-account.ts";
import type { CarveRefusal } from "./ledger-contracts.ts";
import type { LedgerDoor } from "./ledger-door.ts";
import type { LedgerRow } from "./ledger-row.ts";
import { LEDGER_UNITS, type LedgerUnit } from "./ledger-window.ts";
import type { Placement } from "./placement.ts";
import type { Replica } from "./replica.ts";

export type ContractsOptions = {
  readonly mesh: string;
  readonly clock: Clock;
  readonly replica: Replica;
  readonly verify: Keys["verify"];
  readonly ledger: Pick<LedgerDoor, "contracts" | "onLed">;
  readonly placement: Placement;
};

/** What an operator sees of a contract. */
export type ContractView = {
  readonly account: ContractAccount;
  readonly rows: { readonly [U in LedgerUnit]: LedgerRow };
};

/** What a node is told of a contract that it serves. */
export type Served = { readonly chain: string; readonly rate: Rate };

/** Nothing is lent: somebody is killed from whom its authority comes, or policy has its agent elsewhere. */
export type ContractBar = {
  readonly refused: "killed_contract" | "not_placed";
  readonly message: string;
};

export type NotOpened =
  | ContractRefusal
  | CarveRefusal
  /** A delegated contract where a root was wanted, or the other way round. */
  | { readonly refused: "contract_order"; readonly message: string }
  /** Another node than its delegator's asks. */
  | { readonly refused: "contract_elsewhere"; readonly message: string }
  /** Policy does not place the agent on the node that would serve it. */
  | { readonly refused: "not_placed"; readonly message: string }
  /** Its agent holds it, and no node that the mesh knows was named to serve it. */
  | { readonly refused: "delegation_holder"; readonly message: string };

export class Contracts {
  readonly #options: ContractsOptions;
  readonly #links = new KnownLinks();

  constructor(options: ContractsOptions) {
    this.#options = options;
    const { replica, ledger } = options;
    const revokeAll = (): void => {
      for (const { parsed, op } of replica.state.records()) {
        if (parsed.kind === "contract" && op.case === "kill") this.#revoked(parsed.id);
      }
    };
    revokeAll();
    // The one that led before may have ended before it heard.
    ledger.onLed(revokeAll);
    replica.onRecord(({ parsed, op }) => {
      if (parsed.kind === "contract" && op.case === "kill") this.#revoked(parsed.id);
    });
  }

  /**
   * Opens the account of a root.
   *
   * @param node Serves it, where its agent holds it.
   */
  issue(chain: string, { node }: { readonly node: string }): Promise<ContractView | NotOpened> {
    return this.#open(chain, "root", { node, asker: "" });
  }

  /**
   * Opens the account of what was delegated from a contract that is open.
   *
   * @param node Serves it, where its agent holds it.
   * @param asker The node that asks: K4.
   */
  carve(
    chain: string,
    { node, asker }: { readonly node: string; readonly asker: string },
  ): Promise<ContractView | NotOpened> {
    return this.#open(chain, "delegated", { node, asker });
  }

  /** A chain's last contract, and the node that serves its delegator and so may have it carved (K4). */
  async delegated(
    chain: string,
  ): Promise<{ readonly contract: string; readonly servedBy: string } | NotOpened> {
    const verified = this.#verified(chain);
    if ("refused" in verified) return verified;
    const above = verified.links.at(-2);
    if (above === undefined) return notOf("delegated");
    const account = await this.#options.ledger.contracts((contracts) => contracts.get(above.id));
    return account
      ? { contract: verified.leaf.id, servedBy: account.node }
      : { refused: "contract_unknown", message: above.id };
  }

  async #open(
    chain: string,
    kind: "root" | "delegated",
    { node, asker }: { readonly node: string; readonly asker: string },
  ): Promise<ContractView | NotOpened> {
    const verified = this.#verified(chain);
    if ("refused" in verified) return verified;
    if ((verified.links.length === 1) !== (kind === "root")) return notOf(kind);
    const account = this.#accountOf(verified, chain, node);
    if (!this.#options.replica.trust.nodeIds().includes(account.node)) {
      return { refused: "delegation_holder", message: `node ${account.node}` };
    }
    if (!this.#isPlaced(account)) {
      return { refused: "not_placed", message: `${account.agent} on node ${account.node}` };
    }
    return this.#options.ledger.contracts((contracts) => {
      const delegator = contracts.get(account.parent)?.node;
      if (delegator !== undefined && delegator !== asker) {
        return { refused: "contract_elsewhere", message: `node ${delegator} serves its delegator` };
      }
      const opened = contracts.open(account);
      return "refused" in opened
        ? opened
        : viewOf(opened, (unit) => contracts.row(opened.id, unit));
    });
  }

  /** Why nothing is lent to the contract of that account, whatever it has left; `undefined` for what is unknown. */
  barred(name: string): Promise<ContractBar | undefined> {
    return this.#options.ledger.contracts((contracts) => {
      const account = contracts.get(name.slice("contract/".length));
      if (account === undefined) return undefined;
      // Its own agent's kill counts too: the account is lent from on nobody else's behalf.
      for (let of: ContractAccount | undefined = account; of; of = contracts.get(of.parent)) {
        const { state } = this.#options.replica;
        const name = contractAccountName(of.id);
        const killed = state.killed(name) ? name : state.killsFor(of.agent)[0]?.scope;
        if (killed !== undefined) return { refused: "killed_contract", message: killed };
      }
      const message = `${name} is not placed on ${account.node}`;
      return this.#isPlaced(account) ? undefined : { refused: "not_placed", message };
    });
  }

  #isPlaced({ agent, node }: ContractAccount): boolean {
    return this.#options.placement.isPlaced(node, `agent/${agent}`);
  }

  /** What is left to a contract's own requests after all that was delegated from it. */
  ownRate(id: string): Promise<Rate | undefined> {
    return this.#options.ledger.contracts((contracts) => {
      const account = contracts.get(id);
      return account && contracts.ownRate(account);
    });
  }

  /** K3: the contract that was born with this key, if that node serves it. */
  ofKey(keySha256: string, node: string): Promise<Served | undefined> {
    return this.#options.ledger.contracts((contracts) => {
      const account = contracts.byKey(keySha256);
      if (account === undefined || account.node !== node) return undefined;
      return { chain: account.chain, rate: contracts.ownRate(account) };
    });
  }

  /** K3: a contract of an agent's own key. `elsewhere`: another node serves it. */
  ofId(id: string, node: string): Promise<Served | "elsewhere" | undefined> {
    return this.#options.ledger.contracts((contracts) => {
      const account = contracts.get(id);
      if (account === undefined || account.keySha256 !== "") return undefined;
      if (account.node !== node) return "elsewhere";
      return { chain: account.chain, rate: contracts.ownRate(account) };
    });
  }

  tree(id?: string): Promise<readonly ContractView[]> {
    return this.#options.ledger.contracts((contracts) =>
      contracts
        .tree(id)
        .map((account) => viewOf(account, (unit) => contracts.row(account.id, unit))),
    );
  }

  #verified(chain: string): VerifiedChain | NotOpened {
    const { mesh, clock, replica, verify } = this.#options;
    const nowMs = Math.max(clock.nowMs(), replica.state.contractsEndedMs);
    const verified = verifyChain(chain, {
      mesh,
      nowMs,
      verify,
      known: this.#links,
      operatorKey: operatorKey(replica.trust, nowMs),
    });
    if ("refused" in verified) return verified;
    const killed = killScopesOf(verified.links).find((scope) => replica.state.killed(scope));
    return killed === undefined ? verified : { refused: "killed_contract", message: killed };
  }

  #accountOf({ leaf, links }: VerifiedChain, chain: string, named: string): ContractAccount {
    const { id, claims } = leaf;
    const { budget, rate, validity } = claims.authority;
    const { sha256 } = claims.bearer;
    return {
      id,
      parent: links.at(-2)?.id ?? "",
      agent: claims.agent,
      node: this.#nodeOf(leaf) ?? named,
      depth: claims.depth,
      keySha256: sha256 === "" ? "" : Buffer.from(sha256, "base64url").toString("hex"),
      chain,
      limit: { usd_micros: budget.usd_u, tokens: budget.tok, calls: budget.calls },
      rate,
      expiresMs: validity.expires * 1000,
      state: "open",
    };
  }

  /** The node whose key holds the contract; undefined when its agent does. */
  #nodeOf({ claims }: Contract): string | undefined {
    const { trust } = this.#options.replica;
    const holder = publicKeyOf(claims.holder);
    if (holder === undefined) return undefined;
    return trust.nodeIds().find((node) => {
      const key = trust.nodeKey(node)?.publicKey;
      return key !== undefined && Buffer.compare(key, holder) === 0;
    });
  }

  #revoked(id: string): void {
    // A ledger that cannot be written lends nothing meanwhile, and hears of it again at the next start.
    this.#options.ledger.contracts((contracts) => contracts.revoke(id)).catch(() => undefined);
  }
}

function notOf(kind: "root" | "delegated"): NotOpened {
  return { refused: "contract_order", message: `a ${kind} contract is asked for` };
}

function viewOf(account: ContractAccount, rowOf: (unit: LedgerUnit) => LedgerRow): ContractView {
  const rows = Object.fromEntries(LEDGER_UNITS.map((unit) => [unit, { ...rowOf(unit) }]));
  return { account, rows: rows as ContractView["rows"] };
}
