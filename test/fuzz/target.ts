/** A parser of bytes from outside, and what must hold of it whatever they are. */
export type Target = {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  /** Words of its language, latin1. */
  readonly words: readonly string[];
  /** Throws when something does not hold. `cut` divides the input where it comes in pieces. */
  readonly run: (bytes: Uint8Array, cut: number) => void | Promise<void>;
};
