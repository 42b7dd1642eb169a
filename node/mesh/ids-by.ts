/**
 * For each name the ids that it has: mostly one, which needs no set of its own. That is 0.15 KB less a name, of which a
 * mesh has two for each of its keys. Another one costs the same, however many there are: an agent has a key for each of its contracts.
 */
export class IdsBy {
  readonly #ids = new Map<string, string | Set<string>>();

  add(name: string, id: string): void {
    const ids = this.#ids.get(name);
    if (ids === undefined) this.#ids.set(name, id);
    else if (typeof ids !== "string") ids.add(id);
    else if (ids !== id) this.#ids.set(name, new Set([ids, id]));
  }

  remove(name: string, id: string): void {
    const ids = this.#ids.get(name);
    if (ids === id) this.#ids.delete(name);
    if (ids === undefined || typeof ids === "string") return;
    ids.delete(id);
    const [only] = ids;
    if (only !== undefined && ids.size === 1) this.#ids.set(name, only);
  }

  /** As they are now and come to be: to be read at once. */
  of(name: string): ReadonlySet<string> {
    const ids = this.#ids.get(name);
    return typeof ids === "string" ? new Set([ids]) : (ids ?? NONE);
  }
}

const NONE: ReadonlySet<string> = new Set();
