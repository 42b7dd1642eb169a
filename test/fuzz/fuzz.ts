import { Coverage } from "./coverage.ts";
import { mutate, numbersOf } from "./mutate.ts";
import type { Target } from "./target.ts";

/** Looking at what was covered costs milliseconds, so many inputs are tried between two looks. */
const BATCH = 400;
const KEPT_MAX = 2_000;

export type FuzzResult = {
  readonly runs: number;
  /** Inputs that are kept because they reached what none before did. */
  readonly corpus: number;
  readonly blocks: number;
  readonly failure:
    | { readonly input: Uint8Array; readonly cut: number; readonly error: unknown }
    | undefined;
};

/**
 * Runs a target with mutated inputs, and mutates those further that reach new code.
 *
 * @param isOver Asked between batches.
 */
export async function fuzz(
  target: Target,
  of: {
    readonly seed: number;
    readonly isOver: (runs: number) => boolean;
    readonly batch?: number;
  },
): Promise<FuzzResult> {
  const { seed, isOver, batch = BATCH } = of;
  using coverage = new Coverage();
  const draw = numbersOf(seed);
  const corpus = [...target.seeds];
  let runs = 0;
  const tryOne = async (input: Uint8Array) => {
    const cut = draw(input.length + 1);
    runs++;
    try {
      await target.run(input, cut);
      return undefined;
    } catch (error) {
      return { input, cut, error };
    }
  };
  const end = (failure: FuzzResult["failure"]): FuzzResult => ({
    runs,
    corpus: corpus.length,
    blocks: coverage.blocks,
    failure,
  });
  for (const input of corpus) {
    const failure = await tryOne(input);
    if (failure !== undefined) return end(failure);
  }
  coverage.newBlocks();
  while (!isOver(runs)) {
    const inputs: Uint8Array[] = [];
    for (let i = 0; i < batch; i++) {
      const input = mutate(draw, { corpus, words: target.words });
      inputs.push(input);
      const failure = await tryOne(input);
      if (failure !== undefined) return end(failure);
    }
    // Which of them it was is not asked: a few of the batch are as good to go on from.
    if (coverage.newBlocks() > 0 && corpus.length < KEPT_MAX) corpus.push(...inputs.slice(-8));
  }
  return end(undefined);
}
