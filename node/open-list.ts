/**
 * What is open now, the longest open first.
 *
 * A Set would do, were it not for V8's collector: each time that a Set has grown or shrunk it begins a
 * new table, to which the one before points. Once a table has become old, every later one hangs on it
 * until the next full collection, with all that was ever in the set. Of requests, which come and go
 * by the thousand, none would then die young, and the collector would copy each of them twice. A link
 * that is taken out of this list points to nothing any more.
 */
export class OpenList<T> {
  #first: Link<T> | undefined;
  #last: Link<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Where the longest open stands. */
  get first(): Link<T> | undefined {
    return this.#first;
  }

  /** Puts an item at the end; what it returns takes it out again. */
  add(item: T): Link<T> {
    const link: Link<T> = { item, before: this.#last, after: undefined, isIn: true };
    if (this.#last === undefined) this.#first = link;
    else this.#last.after = link;
    this.#last = link;
    this.#size += 1;
    return link;
  }

  /** @param link Of this list. False: it was taken out before. */
  remove(link: Link<T>): boolean {
    if (!link.isIn) return false;
    const { before, after } = link;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    link.before = undefined;
    link.after = undefined;
    link.isIn = false;
    this.#size -= 1;
    return true;
  }

  /** Take a copy where items may be taken out on the way. */
  *[Symbol.iterator](): Iterator<T> {
    for (let link = this.#first; link !== undefined; link = link.after) yield link.item;
  }
}

/** The place of an item in its list, and nobody's but the list's to change. */
export type Link<T> = {
  readonly item: T;
  before: Link<T> | undefined;
  after: Link<T> | undefined;
  isIn: boolean;
};
