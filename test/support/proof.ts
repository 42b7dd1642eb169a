/** How much of a proof is run, and the seed it is run with. */
export type Proof = {
  readonly count: number;
  /** Whole number below 2^32. */
  readonly seed: number;
};

const SEED_MAX = 2 ** 32;

/**
 * How often a proof repeats what it proves: `small` in `npm test`, `full` where ALTRACE_PROOF is
 * `full`, as in `npm run proof`. Prints both count and seed, so that a failure can be run again:
 * ALTRACE_PROOF_SEED takes the printed seed.
 *
 * @throws Error on any other value of ALTRACE_PROOF: a misspelt word must not pass for a full proof.
 */
export function proofCount(
  name: string,
  of: { readonly small: number; readonly full: number },
): Proof {
  const { ALTRACE_PROOF_SEED: given } = process.env;
  const seed = given === undefined ? Math.floor(Math.random() * SEED_MAX) : Number(given);
  if (!Number.isInteger(seed) || seed < 0 || seed >= SEED_MAX) {
    throw new Error(`ALTRACE_PROOF_SEED is ${JSON.stringify(given)}: expected a whole number`);
  }
  const count = of[proofSize()];
  console.log(`proof ${name}: N ${count}, ALTRACE_PROOF_SEED=${seed}`);
  return { count, seed };
}

/** @throws Error on any other value of ALTRACE_PROOF. */
export function proofSize(): "small" | "full" {
  const { ALTRACE_PROOF: wanted = "small" } = process.env;
  if (wanted === "small" || wanted === "full") return wanted;
  throw new Error(`ALTRACE_PROOF is ${JSON.stringify(wanted)}: expected small or full`);
}
