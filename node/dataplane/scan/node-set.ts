/** A reusable set of node numbers: clearing it costs nothing, whatever was in it. */
export class NodeSet {
  readonly #markedIn: Uint32Array;
  readonly #members: Int32Array;
  #round = 1;
  size = 0;

  constructor(nodeCount: number) {
    this.#markedIn = new Uint32Array(nodeCount);
    this.#members = new Int32Array(nodeCount);
  }

  clear(): void {
    this.size = 0;
    this.#round += 1;
    // The round is kept in 32 bits: after four billion clearings, old marks would look new.
    if (this.#round > 0xffffffff) {
      this.#markedIn.fill(0);
      this.#round = 1;
    }
  }

  add(node: number): void {
    if (this.#markedIn[node] === this.#round) return;
    this.#markedIn[node] = this.#round;
    this.#members[this.size] = node;
    this.size += 1;
  }

  /** The member added as number `index`. More may be added while these are gone through. */
  at(index: number): number {
    return this.#members[index] as number;
  }

  /** The members in ascending order, as a list of its own. */
  sorted(): readonly number[] {
    // A plain array: making a typed one of this size takes longer than all the rest of a step.
    const list = new Array<number>(this.size);
    for (let index = 0; index < list.length; index++) list[index] = this.#members[index] as number;
    return insertInOrder(list) ? list : list.sort((a, b) => a - b);
  }
}

/** How many moves per member sorting by insertion may take before it is the wrong way to sort. */
const MOVES_PER_MEMBER_MAX = 8;

/** Sorts a nearly sorted list, as a step from a sorted one makes it. False: it was not so. */
function insertInOrder(list: number[]): boolean {
  let moves = MOVES_PER_MEMBER_MAX * list.length;
  for (let index = 1; index < list.length; index++) {
    const member = list[index] as number;
    let hole = index;
    while (hole > 0 && (list[hole - 1] as number) > member && moves > 0) {
      list[hole] = list[hole - 1] as number;
      hole -= 1;
      moves -= 1;
    }
    list[hole] = member;
    if (moves === 0) return false;
  }
  return true;
}
