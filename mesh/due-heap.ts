type Due = { readonly atMs: number; readonly id: string };

/**
 * Ids by the time at which they are to be looked at: a binary heap, so that what is due costs no look
 * at what is not. An id may be in it more than once, and nothing is taken out before its time: whoever
 * takes it looks whether there is still something to do.
 */
export class DueHeap {
  readonly #heap: Due[] = [];

  get size(): number {
    return this.#heap.length;
  }

  add(due: Due): void {
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Due;
      if (above.atMs <= due.atMs) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = due;
  }

  /** Takes out the earliest id that is due at that time; undefined when none is. */
  take(nowMs: number): string | undefined {
    const [first] = this.#heap;
    if (first === undefined || nowMs < first.atMs) return undefined;
    const last = this.#heap.pop() as Due;
    if (this.#heap.length > 0) this.#sink(last);
    return first.id;
  }

  /** Puts what stood last where the first was, and lets it fall to its place. */
  #sink(due: Due): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const right = left + 1;
      if (left >= heap.length) break;
      const isRight = right < heap.length && timeOf(heap, right) < timeOf(heap, left);
      const child = isRight ? right : left;
      if (timeOf(heap, child) >= due.atMs) break;
      heap[at] = heap[child] as Due;
      at = child;
    }
    heap[at] = due;
  }
}

function timeOf(heap: readonly Due[], at: number): number {
  return (heap[at] as Due).atMs;
}
