/**
 * One of the dimensions of authority: an order with a meet, exact and total on its normal forms.
 *
 * O1. `leq` is a partial order on normal forms; in particular `a <= b` and `b <= a` only if they are
 *     spelt alike. Without that "strictly less" would mean nothing.
 * O2. `meet(a, b)` is in normal form, is `<=` both, and every `c` that is `<=` both is `<=` it.
 * O3. What the meet lets through, both let through; in all dimensions but rate the converse holds too.
 */
export type Dimension<T> = {
  /** The same authority in its one spelling. */
  normal(value: T): T;
  /** True when `child` grants nothing that `parent` does not. Both in normal form. */
  leq(child: T, parent: T): boolean;
  /** What both grant. Both in normal form. */
  meet(one: T, other: T): T;
};
