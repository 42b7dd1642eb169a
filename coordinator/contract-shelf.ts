import { type ContractAccount, readContractAccount } from "./contract-account.ts";

const NONE: ReadonlyMap<string, ContractAccount> = new Map();

/** The ledger's contracts, found by id, by virtual key and by parent. */
export class ContractShelf {
  readonly #byId = new Map<string, ContractAccount>();
  readonly #idOfKey = new Map<string, string>();
  /** By parent's id, "" for roots. */
  readonly #below = new Map<string, Map<string, ContractAccount>>();
  /** Those of them that hold something still: a root outlives thousands that it once delegated to. */
  readonly #unreleased = new Map<string, Map<string, ContractAccount>>();

  get(id: string): ContractAccount | undefined {
    return this.#byId.get(id);
  }

  ofKey(keySha256: string): ContractAccount | undefined {
    const id = this.#idOfKey.get(keySha256);
    return id === undefined ? undefined : this.#byId.get(id);
  }

  below(parent: string): readonly ContractAccount[] {
    return [...(this.#below.get(parent) ?? NONE).values()];
  }

  unreleasedBelow(parent: string): ReadonlyMap<string, ContractAccount> {
    return this.#unreleased.get(parent) ?? NONE;
  }

  all(): IterableIterator<ContractAccount> {
    return this.#byId.values();
  }

  get size(): number {
    return this.#byId.size;
  }

  put(account: ContractAccount): void {
    const { id, keySha256 } = account;
    this.#byId.set(id, account);
    // A key that two contracts name stays with the first: nobody gets another's by naming its hash.
    if (keySha256 !== "" && !this.#idOfKey.has(keySha256)) this.#idOfKey.set(keySha256, id);
    put(this.#below, account);
    if (account.state === "released") drop(this.#unreleased, account);
    else put(this.#unreleased, account);
  }

  drop(id: string): void {
    const account = this.#byId.get(id);
    if (!account) return;
    this.#byId.delete(id);
    if (this.#idOfKey.get(account.keySha256) === id) this.#idOfKey.delete(account.keySha256);
    drop(this.#below, account);
    drop(this.#unreleased, account);
  }

  /** @throws TypeError It is not what the ledger writes. */
  load(id: string, value: unknown): void {
    const account = readContractAccount(value);
    if (account.id !== id) throw new TypeError("id");
    this.put(account);
  }
}

type ByParent = Map<string, Map<string, ContractAccount>>;

function put(byParent: ByParent, account: ContractAccount): void {
  const siblings = byParent.get(account.parent) ?? new Map<string, ContractAccount>();
  byParent.set(account.parent, siblings.set(account.id, account));
}

function drop(byParent: ByParent, { id, parent }: ContractAccount): void {
  const siblings = byParent.get(parent);
  siblings?.delete(id);
  if (siblings?.size === 0) byParent.delete(parent);
}
