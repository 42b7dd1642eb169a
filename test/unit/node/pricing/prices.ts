import fc from "fast-check";
import type { PriceEntry } from "../../../../policy/compiled-policy.ts";

/** One micro-dollar a token of input, ten a token of output: sums that can be made in the head. */
export const ROUND_PRICE: PriceEntry = {
  inputMicrosPerMtok: 1_000_000,
  cachedInputMicrosPerMtok: 100_000,
  cacheWriteMicrosPerMtok: 1_250_000,
  outputMicrosPerMtok: 10_000_000,
  fixedMicros: 0,
  tokensPerMessage: 8,
  tokensPerTool: 32,
  tokensFixed: 64,
  distrustMilli: 1100,
};

const price = fc.integer({ min: 0, max: 200_000_000 });

/** Any price that a policy can have. */
export const anyPrice: fc.Arbitrary<PriceEntry> = fc
  .record({
    input: price,
    cached: fc.nat(1000),
    write: price,
    output: price,
    fixedMicros: fc.nat(100_000),
    tokensPerMessage: fc.nat(100),
    tokensPerTool: fc.nat(100),
    tokensFixed: fc.nat(2000),
    distrustMilli: fc.integer({ min: 1001, max: 20_000 }),
    long: fc.option(fc.record({ above: fc.nat(5000), more: fc.nat(3) }), { nil: undefined }),
  })
  .map(({ input, cached, write, output, long, ...rest }) => {
    const four = {
      inputMicrosPerMtok: input,
      cachedInputMicrosPerMtok: Math.floor((input * cached) / 1000),
      cacheWriteMicrosPerMtok: write,
      outputMicrosPerMtok: output,
    };
    if (long === undefined) return { ...four, ...rest };
    const times = long.more + 1;
    const longContext = {
      aboveInputTokens: long.above,
      inputMicrosPerMtok: four.inputMicrosPerMtok * times,
      cachedInputMicrosPerMtok: four.cachedInputMicrosPerMtok * times,
      cacheWriteMicrosPerMtok: four.cacheWriteMicrosPerMtok * times,
      outputMicrosPerMtok: four.outputMicrosPerMtok * times,
    };
    return { ...four, ...rest, longContext };
  });
