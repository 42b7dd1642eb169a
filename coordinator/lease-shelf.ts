import type { Lease, LeaseRequest } from "./ledger-lease.ts";

/** The ledger's leases, found by id and by the request they were granted to, and counted by account and by node. */
export class LeaseShelf {
  readonly #byId = new Map<string, Lease>();
  /** By start of a node, then by request: a text for each pair would be as long as all else of a lease. */
  readonly #byRequest = new Map<string, Map<string, Lease>>();
  readonly #countOf = new Map<string, number>();
  readonly #countOfNode = new Map<string, number>();

  get size(): number {
    return this.#byId.size;
  }

  all(): IterableIterator<Lease> {
    return this.#byId.values();
  }

  get(id: string): Lease | undefined {
    return this.#byId.get(id);
  }

  ofRequest(request: LeaseRequest): Lease | undefined {
    return this.#byRequest.get(startOf(request))?.get(request.requestId);
  }

  /** Whether there is one of any start of that node. */
  hasOf(node: string): boolean {
    return this.#countOfNode.has(node);
  }

  /** Leases of exactly that account. */
  countOf(account: string): number {
    return this.#countOf.get(account) ?? 0;
  }

  /** The lease that it takes the place of: the same one, where it was changed. */
  put(lease: Lease): Lease | undefined {
    const before = this.#byId.get(lease.id);
    if (before === lease) return before;
    if (before === undefined) this.#count(lease, 1);
    this.#byId.set(lease.id, lease);
    const start = startOf(lease);
    const ofStart = this.#byRequest.get(start) ?? new Map<string, Lease>();
    this.#byRequest.set(start, ofStart.set(lease.requestId, lease));
    return before;
  }

  /** False: there is none of that id. */
  drop(id: string): boolean {
    const lease = this.#byId.get(id);
    if (lease === undefined) return false;
    this.#byId.delete(id);
    const start = startOf(lease);
    const ofStart = this.#byRequest.get(start);
    ofStart?.delete(lease.requestId);
    if (ofStart?.size === 0) this.#byRequest.delete(start);
    this.#count(lease, -1);
    return true;
  }

  #count({ chain, node }: Lease, by: number): void {
    addTo(this.#countOf, chain[0] as string, by);
    addTo(this.#countOfNode, node, by);
  }
}

function addTo(counts: Map<string, number>, name: string, by: number): void {
  const count = (counts.get(name) ?? 0) + by;
  if (count === 0) counts.delete(name);
  else counts.set(name, count);
}

function startOf({ node, bootId }: LeaseRequest): string {
  return `${node}|${bootId}`;
}
